//! Costs of the plain start, in counters that repeat exactly, beside an interpreter that only jumps.

use std::path::Path;

use anyhow::Result;

use super::table::Row;
use crate::count::ENVIRONMENT;
use crate::count::faults::faults;
use crate::count::trace::{self, Trace};
use crate::least::{Least, Link, STATUS};
use crate::repo::Repo;
use crate::run::step;

/// Instructions the plain start may take beyond the trivial interpreter's. Both walk the block to AT_ENTRY; the
/// loader compares the start of each variable's name, finds AT_SECURE and reads the program's program headers and
/// dynamic section, and checks that these are mapped, that the entry is code, and that no segment is far from the
/// others in the file: some ten instructions for each of the variables, entries and headers here; and it looks for a stub's
/// note before the entry. Measured: 953.
const INSTRUCTION_BUDGET: u64 = 960;

/// Page faults the plain start may take beyond the trivial interpreter's: the program's own first page, with the
/// program headers, and the page of its dynamic section, which the program itself would not have read. (A program
/// whose headers share a segment with its text has the first of them anyway.)
const FAULT_BUDGET: i64 = 2;

/// Costs of one start.
#[derive(Clone, Debug)]
struct Cost {
    trace: Trace,
    faults: i64,
}

/// Measures the trivial program under the trivial interpreter and under the loader, and compares.
pub(crate) fn check(repo: &Repo, loader: &Path) -> Result<Vec<Row>> {
    step("count what the plain start does");
    let least = Least::new(repo, repo.fresh_dir("audit")?);
    let interpreter = least.interpreter()?;
    let under_trivial = least.program("under-trivial", Link::Pie(&interpreter))?;
    let under_loader = least.program("under-loader", Link::Pie(loader))?;
    let measured = trace::without_randomisation(|| {
        // A failure under the loader is a row of the table; one without it is an error of the audit.
        Ok((cost(&under_trivial)?, cost(&under_loader)))
    });
    let ((trivial, ours), fixed_addresses) = measured?;
    if !fixed_addresses {
        println!("    addresses stay randomised: this machine does not let that be turned off");
    }
    Ok(ours.map_or_else(|error| vec![broken(&error)], |ours| gate(&trivial, &ours)))
}

fn broken(error: &anyhow::Error) -> Row {
    Row::new("plain start", "-").require(false, || format!("{error:#}"))
}

fn cost(program: &Path) -> Result<Cost> {
    Ok(Cost { trace: trace::trace(program, &ENVIRONMENT)?, faults: faults(program, STATUS)? })
}

fn gate(trivial: &Cost, ours: &Cost) -> Vec<Row> {
    let calls = &ours.trace.system_calls;
    let instructions = ours.trace.instructions;
    let instructions_limit = trivial.trace.instructions + INSTRUCTION_BUDGET;
    let faults_limit = trivial.faults + FAULT_BUDGET;
    vec![
        Row::new("plain start: exit status", ours.trace.status)
            .require(ours.trace.status == STATUS && trivial.trace.status == STATUS, || {
                format!("should be {STATUS}, and is {} under the trivial interpreter", trivial.trace.status)
            }),
        Row::new("plain start: system calls", format!("{calls:?}"))
            .require(*calls == trivial.trace.system_calls, || {
                format!("the program's own are {:?}", trivial.trace.system_calls)
            }),
        Row::new("plain start: page faults", format!("{} (trivial {})", ours.faults, trivial.faults))
            .require(ours.faults <= faults_limit, || format!("may be {faults_limit}")),
        Row::new("plain start: instructions", format!("{instructions} (trivial {})", trivial.trace.instructions))
            .require(instructions <= instructions_limit, || format!("may be {instructions_limit}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: u64, system_calls: &[u64], status: i32, faults: i64) -> Cost {
        let system_calls = system_calls.to_vec();
        Cost { trace: Trace { instructions, system_calls, status }, faults }
    }

    const TRIVIAL: (u64, i64) = (100, 40);
    /// The largest costs that pass.
    const MOST: (u64, i64) = (TRIVIAL.0 + INSTRUCTION_BUDGET, TRIVIAL.1 + FAULT_BUDGET);

    fn failing(ours: &Cost) -> Vec<&'static str> {
        let trivial = cost(TRIVIAL.0, &[231], STATUS, TRIVIAL.1);
        let rows = gate(&trivial, ours);
        let failing = rows.iter().filter(|row| row.failure.is_some());
        failing.map(|row| row.name).collect()
    }

    #[test]
    fn what_stays_within_the_budgets_passes() {
        assert!(failing(&cost(MOST.0, &[231], STATUS, MOST.1)).is_empty());
    }

    #[test]
    fn each_excess_fails() {
        let too_many = failing(&cost(MOST.0 + 1, &[231], STATUS, MOST.1));
        assert_eq!(too_many, ["plain start: instructions"]);
        let faulting = failing(&cost(MOST.0, &[231], STATUS, MOST.1 + 1));
        assert_eq!(faulting, ["plain start: page faults"]);
        let calling = failing(&cost(MOST.0, &[9, 231], STATUS, MOST.1));
        assert_eq!(calling, ["plain start: system calls"]);
        let dead = failing(&cost(MOST.0, &[231], 127, MOST.1));
        assert_eq!(dead, ["plain start: exit status"]);
    }
}
