//! Signals that were blocked and ignored before the program was executed.

use std::path::Path;

use anyhow::{Result, ensure};
use tests::launch::Ending;
use tests::recipe::SUCCESS;

use tests::start::Start;
use tests::world::Case;

/// Signals 32 and 33, which libc reserves: env(1) can not reset them if they were ignored when the tests were started.
const LIBCS: u64 = 3 << 31;

/// SIGHUP and SIGUSR2 are ignored, SIGUSR1, SIGTERM and a real-time signal blocked: they stay so, and no others are.
pub(crate) fn kept(case: Case<'_>) -> Result<()> {
    let ignored = 1u64 << 0 | 1 << 11;
    let blocked = 1u64 << 9 | 1 << 14 | 1 << 39;
    for name in ["report/plain", "report/full", "report/native"] {
        let program = case.world.program(name)?.path().to_string_lossy();
        let start = Start::new(Path::new("/usr/bin/env"), case.user)
            .arg("--default-signal")
            .arg("--ignore-signal=HUP,USR2")
            .arg("--block-signal=USR1,TERM,40")
            .arg(program)
            .arg("signals");
        let outcome = start.run()?;
        let number = |what: &str| {
            let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(what));
            line.and_then(|digits| u64::from_str_radix(digits, 16).ok())
        };
        let kept =
            number("blocked ") == Some(blocked) && number("ignored ").map(|all| all & !LIBCS) == Some(ignored);
        ensure!(outcome.ending == Ending::Exit(SUCCESS) && kept, "{name}: {outcome:?}");
    }
    Ok(())
}
