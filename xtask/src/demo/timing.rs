//! Time to entry: from before the process is made to the program's first action.

use anyhow::{Context, Result, bail};
use nix::time::{ClockId, clock_gettime};

use super::program::Program;

/// Runs of each, of which the median is shown.
const RUNS: usize = 20;

/// Measures both by turns, and prints both.
pub(crate) fn compare(libc_free: &Program, ordinary: &Program) -> Result<()> {
    // The first run of each brings its files into memory.
    time_to_entry(libc_free)?;
    time_to_entry(ordinary)?;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..RUNS {
        ours.push(time_to_entry(libc_free)?);
        theirs.push(time_to_entry(ordinary)?);
    }
    println!("    from spawn to entry, median of {RUNS}:");
    println!("    libc-free, slulrtld    {:>12}", duration(median(ours)?));
    println!("    ordinary, main()       {:>12}", duration(median(theirs)?));
    println!();
    Ok(())
}

fn time_to_entry(program: &Program) -> Result<u64> {
    let before = now()?;
    let entered = program.run(&["--entry-clock".as_ref()])?.number("entered")?;
    match entered.checked_sub(before) {
        Some(time) => Ok(time),
        None => bail!("the program began at {entered} ns, before it was started at {before} ns"),
    }
}

/// CLOCK_MONOTONIC in nanoseconds, as the program reads it.
fn now() -> Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).context("clock_gettime")?;
    let nanoseconds = i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec());
    u64::try_from(nanoseconds).context("clock_gettime")
}

fn median(mut times: Vec<u64>) -> Result<u64> {
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied();
    middle.context("nothing was measured")
}

/// Nanoseconds as text with a suitable unit.
pub(crate) fn duration(nanoseconds: u64) -> String {
    match nanoseconds {
        0..10_000 => format!("{nanoseconds} ns"),
        10_000..10_000_000 => format!("{} us", nanoseconds / 1000),
        _ => format!("{} ms", nanoseconds / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9, 1, 5]).unwrap(), 5);
        assert!(median(vec![]).is_err());
    }

    #[test]
    fn durations_have_a_fit_unit() {
        assert_eq!(duration(850), "850 ns");
        assert_eq!(duration(312_400), "312 us");
        assert_eq!(duration(40_000_000), "40 ms");
    }
}
