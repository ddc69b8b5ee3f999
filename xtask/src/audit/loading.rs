//! Costs of starts beyond the plain one, in counters that repeat exactly.

use std::fmt::Display;
use std::ops::Sub;
use std::path::Path;

use anyhow::{Context, Result};

use super::table::Row;
use crate::bench::scale::libraries::{Libraries, Shape};
use crate::bench::workshop::Workshop;
use crate::bench::{libc, scale, start};
use crate::count::faults::faults;
use crate::count::trace::{self, Trace};
use crate::count::{ENVIRONMENT, callgrind};
use crate::least::STATUS;
use crate::packages;
use crate::repo::Repo;
use crate::run::step;
use crate::stage::Stage;

/// Limits for one program, loader and program together.
struct Limit {
    /// The rows' titles.
    instructions_title: &'static str,
    calls_title: &'static str,
    instructions: u64,
    system_calls: u64,
}

/// What was measured and some 5 %, which is more than the lengths of paths make out. Whoever makes it less lowers them.
const UNUSED: Limit = Limit {
    instructions_title: "libc named and not used: instructions",
    calls_title: "libc named and not used: system calls",
    instructions: 7_200,
    // One of them asks for the root directory, which libc is to be found in.
    system_calls: 6,
};
const ONE_LIBRARY: Limit = Limit {
    instructions_title: "one library: instructions",
    calls_title: "one library: system calls",
    // Some 2 000 of them find out that the start can not be deferred.
    instructions: 57_500,
    system_calls: 20,
};
/// With as many as [`start::NATIVE_LIBRARIES`]; each is looked for in vain in LD_LIBRARY_PATH, then opened, asked for its
/// size, read twice and closed.
const NATIVES: Limit = Limit {
    instructions_title: "30 native libraries: instructions",
    calls_title: "30 native libraries: system calls",
    instructions: 410_000,
    system_calls: 193,
};
const MANY_LIBRARIES: Limit = Limit {
    instructions_title: "50 libraries: instructions",
    calls_title: "50 libraries: system calls",
    instructions: 12_000_000,
    system_calls: 468,
};

/// A program that can open libraries, opens none, and has no finalisers: its exit is one system call.
const OPENS_NOTHING: Limit = Limit {
    instructions_title: "slul_dlopen named and not used: instructions",
    calls_title: "slul_dlopen named and not used: system calls",
    instructions: 47_500,
    system_calls: 16,
};
const EXIT_CALLS: &str = "slul_dlopen named and not used: its last system calls";

/// Page faults, execve's among them: what was measured, and one more, as it may take one page of stack more.
const UNUSED_FAULTS: (&str, i64) = ("libc named and not used: page faults", 12);
const LIBRARY_FAULTS: (&str, i64) = ("one library: page faults", 23);

/// What the loader itself does at the first native call, the full start that was deferred until then among it, beyond what
/// it does in a program that makes none: its own instructions and system calls, whatever that machine's libc does besides.
/// ld.so may have a segment more elsewhere.
const FIRST_CALL: Limit = Limit {
    instructions_title: "first native call, glibc: our instructions",
    calls_title: "first native call, glibc: our system calls",
    instructions: 77_000,
    system_calls: 41,
};
const FIRST_CALL_MUSL: Limit = Limit {
    instructions_title: "first native call, musl: our instructions",
    calls_title: "first native call, musl: our system calls",
    instructions: 35_100,
    system_calls: 29,
};

/// The shape of `cargo xtask bench scale` with 50 libraries.
const MANY: Shape = Shape { libraries: 50, imports: 200 };

/// Counts of one run.
struct Counts {
    /// None if valgrind is not installed.
    instructions: Option<u64>,
    system_calls: u64,
}

impl From<&Trace> for Counts {
    fn from(trace: &Trace) -> Self {
        Self { instructions: Some(trace.instructions), system_calls: trace.system_calls.len() as u64 }
    }
}

/// Counts with the staged loader.
pub(crate) fn check(repo: &Repo, release: &Stage) -> Result<Vec<Row>> {
    step("count what loading does");
    let workshop = Workshop::new(repo, release, "audit")?;
    let unused = start::unused(&workshop)?;
    let library = start::one_library(&workshop)?;
    let natives = start::natives(&workshop)?;
    let opening = start::opens_nothing(&workshop)?;
    let many = Libraries::build(repo, MANY)?;
    let loader = crate::bench::workshop::text(&release.loader)?;
    let many = scale::program(&workshop, "many", loader, "scale.c", &many.files)?;
    let musl = packages::MUSL.present().then(|| libc::musl_first(&workshop)).transpose()?;
    let (rows, _) = trace::without_randomisation(|| {
        let mut rows = counted(&UNUSED, traced(&unused, 0));
        rows.push(faulted(UNUSED_FAULTS, faults(&unused, 0)));
        rows.extend(counted(&FIRST_CALL, first_call(release, &unused, &[])));
        if let Some((program, directory)) = &musl {
            let path = ("LD_LIBRARY_PATH", crate::bench::workshop::text(directory)?);
            rows.extend(counted(&FIRST_CALL_MUSL, first_call(release, program, &[path])));
        }
        rows.extend(opens_nothing(trace::trace(&opening, &ENVIRONMENT)));
        rows.extend(counted(&ONE_LIBRARY, traced(&library, STATUS)));
        rows.push(faulted(LIBRARY_FAULTS, faults(&library, STATUS)));
        rows.extend(counted(&NATIVES, traced(&natives, 0)));
        rows.extend(counted(&MANY_LIBRARIES, by_valgrind(&many)));
        Ok(rows)
    })?;
    Ok(rows)
}

fn traced(program: &Path, status: i32) -> Result<Counts> {
    let trace = trace::trace(program, &ENVIRONMENT)?;
    anyhow::ensure!(trace.status == status, "exit status {}, not {status}", trace.status);
    Ok(Counts::from(&trace))
}

/// The rows for a program that opens nothing. The start ends with the former action for SIGBUS; only exit_group follows.
fn opens_nothing(trace: Result<Trace>) -> Vec<Row> {
    const RT_SIGACTION: u64 = 13;
    const EXIT_GROUP: u64 = 231;
    let trace = match trace {
        Ok(trace) if trace.status == 0 => trace,
        Ok(trace) => return counted(&OPENS_NOTHING, Err(anyhow::anyhow!("exit status {}", trace.status))),
        Err(error) => return counted(&OPENS_NOTHING, Err(error)),
    };
    let start = trace.system_calls.iter().rposition(|&call| call == RT_SIGACTION).unwrap_or(0);
    let last = trace.system_calls.get(start..).unwrap_or_default();
    let mut rows = counted(&OPENS_NOTHING, Ok(Counts::from(&trace)));
    rows.push(
        Row::new(EXIT_CALLS, format!("{last:?}"))
            .require(last == [RT_SIGACTION, EXIT_GROUP], || "only exit_group may follow the start".to_owned()),
    );
    rows
}

/// The loader's additional costs if an argument makes the program call its native function.
fn first_call(release: &Stage, program: &Path, variables: &[(&str, &str)]) -> Result<Counts> {
    let environment = [ENVIRONMENT.as_slice(), variables].concat();
    let of = |argument| {
        let trace = trace::trace_in(Some(&release.loader), program, argument, &environment)?;
        anyhow::ensure!(trace.status == 0, "exit status {}", trace.status);
        Ok(trace)
    };
    let (never, first) = (of(None)?, of(Some("now"))?);
    let more =
        |count: fn(&Trace) -> u64| count(&first).checked_sub(count(&never)).context("the call takes nothing");
    Ok(Counts {
        instructions: Some(more(|trace| trace.instructions)?),
        system_calls: more(|trace| trace.system_calls.len() as u64)?,
    })
}

/// Counted so often. The loader hashes names with a key of each process, so that counts differ, by up to 3 % with 50
/// libraries.
const VALGRIND_RUNS: usize = 5;

/// The least instructions of some runs.
fn by_valgrind(program: &Path) -> Result<Counts> {
    let runs = if packages::VALGRIND.present() { VALGRIND_RUNS } else { 0 };
    let counts: Vec<u64> = (0..runs).map(|_| callgrind::instructions(program, &[], 0)).collect::<Result<_>>()?;
    let instructions = counts.into_iter().min();
    Ok(Counts { instructions, system_calls: trace::system_calls(program, &[])? })
}

/// The rows for one program. A failure under the loader is a failed row.
fn counted(limit: &Limit, counts: Result<Counts>) -> Vec<Row> {
    match counts {
        Ok(counts) => gate(limit, &counts),
        Err(error) => vec![Row::new(limit.instructions_title, "-").require(false, || format!("{error:#}"))],
    }
}

fn faulted((title, most): (&'static str, i64), faults: Result<i64>) -> Row {
    match faults {
        Ok(faults) => at_most(title, faults, most),
        Err(error) => Row::new(title, "-").require(false, || format!("{error:#}")),
    }
}

fn gate(limit: &Limit, counts: &Counts) -> Vec<Row> {
    let instructions = counts.instructions.map_or_else(
        || Row::new(limit.instructions_title, "not counted: no valgrind"),
        |instructions| at_most(limit.instructions_title, instructions, limit.instructions),
    );
    vec![instructions, at_most(limit.calls_title, counts.system_calls, limit.system_calls)]
}

fn at_most<N: Copy + Display + PartialOrd + Sub<Output: Display>>(title: &'static str, figure: N, most: N) -> Row {
    let row = Row::new(title, format!("{figure} of {most}"));
    row.require(figure <= most, || format!("{} too many", figure - most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(instructions: Option<u64>, system_calls: u64) -> Vec<&'static str> {
        let rows = gate(&ONE_LIBRARY, &Counts { instructions, system_calls });
        rows.iter().filter(|row| row.failure.is_some()).map(|row| row.name).collect()
    }

    #[test]
    fn what_stays_within_the_limits_passes() {
        assert!(failing(Some(ONE_LIBRARY.instructions), ONE_LIBRARY.system_calls).is_empty());
        assert!(failing(None, ONE_LIBRARY.system_calls).is_empty());
    }

    #[test]
    fn an_exit_that_does_more_than_exit_fails() {
        let failing = |system_calls: &[u64], status| {
            let trace = Trace { instructions: 1, system_calls: system_calls.to_vec(), status };
            opens_nothing(Ok(trace)).iter().filter(|row| row.failure.is_some()).count()
        };
        assert_eq!(failing(&[13, 9, 13, 231], 0), 0);
        assert_eq!(failing(&[13, 9, 13, 14, 231], 0), 1);
        assert_eq!(failing(&[13, 9, 13, 231], 1), 1);
    }

    #[test]
    fn each_excess_fails() {
        let within = ONE_LIBRARY.system_calls;
        assert_eq!(failing(Some(ONE_LIBRARY.instructions + 1), within), [ONE_LIBRARY.instructions_title]);
        assert_eq!(failing(None, within + 1), [ONE_LIBRARY.calls_title]);
        let (title, most) = LIBRARY_FAULTS;
        assert!(faulted((title, most), Ok(most)).failure.is_none());
        assert!(faulted((title, most), Ok(most + 1)).failure.is_some());
        assert!(faulted((title, most), Err(anyhow::anyhow!("it died"))).failure.is_some());
        let broken = counted(&ONE_LIBRARY, Err(anyhow::anyhow!("it died")));
        assert!(broken.iter().any(|row| row.failure.is_some()));
    }
}
