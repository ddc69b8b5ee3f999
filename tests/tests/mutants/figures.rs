//! Counts of the outcomes of all mutants.

use std::fmt;

use crate::traced::{Ending, Place, Run};

/// Standard output of the sound program.
pub(crate) const SOUND: &str = "begun\nsound\nended\n";

/// Status of the sound program.
pub(crate) const STATUS: i32 = 17;

/// Counts of outcomes, and faults of the loader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    mutants: u64,
    pub(crate) refused: u64,
    pub(crate) as_before: u64,
    differently: u64,
    own_crash: u64,
    own_crash_nowhere: u64,
    own_hang: u64,
    kernel_refused: u64,
    pub(crate) loader_crash: u64,
    pub(crate) loader_hang: u64,
    loader_called: u64,
    refused_by_libc: u64,
    bad_refusal: u64,
    /// Faults of the loader, a line each.
    pub(crate) faults: Vec<String>,
}

impl Figures {
    /// Counts a run. `name` is the mutant's.
    pub(crate) fn take_in(&mut self, name: &str, run: &Run) {
        self.mutants += 1;
        let mut fault = |what: &str| self.faults.push(format!("{name}: {what}: {run:?}"));
        let count = match &run.ending {
            // A panic of the loader prints its place, and ends in a trap.
            _ if run.stderr.contains("slulrtld: bug") => {
                fault("panic");
                &mut self.loader_crash
            }
            Ending::NotExecuted => &mut self.kernel_refused,
            Ending::Exit(127) if is_refusal_of_libc(run) => &mut self.refused_by_libc,
            Ending::Exit(127) if !is_refusal(run) => {
                fault("not a refusal");
                &mut self.bad_refusal
            }
            Ending::Exit(127) => &mut self.refused,
            &Ending::Exit(STATUS) if run.stdout == SOUND && run.stderr.is_empty() => &mut self.as_before,
            Ending::Exit(_) => &mut self.differently,
            Ending::Crash(_, Place::Loader, _) => {
                fault("crash of the loader");
                &mut self.loader_crash
            }
            Ending::Crash(_, Place::Called, _) | Ending::Hang(Place::Called, _) => {
                fault("the loader called what is no code");
                &mut self.loader_called
            }
            Ending::Crash(_, Place::Code, _) => &mut self.own_crash,
            Ending::Crash(_, Place::Nowhere, _) => &mut self.own_crash_nowhere,
            Ending::Hang(Place::Loader, _) => {
                fault("hang of the loader");
                &mut self.loader_hang
            }
            Ending::Hang(..) => &mut self.own_hang,
        };
        *count += 1;
    }
}

/// Whether the loader refused the program in one line, with object and reason, before any of its code ran; or at the first call
/// of a function that nobody defines.
fn is_refusal(run: &Run) -> bool {
    // libc warns of missing versions in a library that became native, and continues.
    let is_warning = |line: &&str| line.contains(": no version information available ");
    let mut lines = run.stderr.lines().filter(|line| !is_warning(line));
    let line = lines.next().and_then(|line| line.strip_prefix("slulrtld: "));
    let says = line.is_some_and(|line| line.contains(": ") && !line.contains(char::is_control));
    let waited = line.is_some_and(|line| line.contains(": undefined symbol: "));
    says && lines.next().is_none() && (run.stdout.is_empty() || waited)
}

/// Whether libc's `ld.so` refused the program: a mutated name in DT_NEEDED is a native library's.
fn is_refusal_of_libc(run: &Run) -> bool {
    let says = [": error while loading shared libraries: ", ": symbol lookup error: "];
    says.iter().any(|says| run.stderr.contains(says)) && run.stderr.lines().count() == 1
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mutants, refused, as_before, differently, own_crash, own_crash_nowhere, .. } = self;
        let Self { own_hang, kernel_refused, loader_crash, loader_hang, loader_called, bad_refusal, .. } = self;
        let refused_by_libc = self.refused_by_libc;
        write!(
            f,
            "{mutants} mutants: refused {refused}, by libc {refused_by_libc}, ran as before {as_before}, ran differently {differently}, \
             program's own crash {own_crash} in code and {own_crash_nowhere} where there is none, \
             program's own hang {own_hang}, kernel refused {kernel_refused}, LOADER crash {loader_crash}, \
             LOADER hang {loader_hang}, LOADER called what is no code {loader_called}, \
             refused without a proper line {bad_refusal}"
        )
    }
}
