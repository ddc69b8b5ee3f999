//! Fixtures that behave differently under `slulrtld-using-libc`, with the reasons. The test of such a fixture fails
//! once the difference is gone, so that it is removed from this list. Every run prints the number of differences and
//! the reasons.

use tests::launch::{Ending, Outcome};

use Ending::{Exit, Signal};

/// Fixtures, or variants of them, that fail in one way for one reason.
struct Difference {
    why: &'static str,
    ending: Ending,
    /// A piece of what it prints; empty if it prints nothing.
    says: &'static str,
    fixtures: &'static [&'static str],
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        why: CANARY,
        ending: Exit(1),
        says: "before != 0 && (before & 0xff) == 0",
        fixtures: &["musl/canary"],
    },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "!any_libc_is_mapped()",
        fixtures: &[
            "musl/first_call_in_finaliser",
            "musl/open_native",
            "native/first_call_in_finaliser",
            "native/signal_storm",
        ],
    },
    Difference {
        why: FIRST,
        ending: Exit(127),
        says: "libgone.so: No such file or directory (needed by",
        fixtures: &["musl/lists"],
    },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "!slul_dlopen(\"/nowhere.so\", SLUL_RTLD_NOW) && !any_libc_is_mapped()",
        fixtures: &["musl/open_tls_before", "open/tls_before"],
    },
    Difference {
        why: STACK,
        ending: Exit(1),
        says: "*(word *)own == (word)argc",
        fixtures: &["musl/stack_range", "native/stack_range"],
    },
    Difference { why: STARTED, ending: Signal(11), says: "before\n", fixtures: &["musl/starts_musl"] },
    Difference {
        why: TEMPLATE,
        ending: Exit(17),
        says: "libc: present from the start",
        fixtures: &["musl/template", "native/template"],
    },
    Difference {
        why: ROOM,
        ending: Exit(127),
        says: "running threads have 5120 bytes left for it",
        fixtures: &["musl/tls_alignment", "native/tls_alignment", "native/tls_zeros"],
    },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "slul_libc_state() == SLUL_LIBC_ABSENT",
        fixtures: &["musl/zlib", "native/eager_off", "native/load_libc", "native/zlib", "open/growth"],
    },
    Difference {
        why: PROC,
        ending: Exit(1),
        says: "same(strings[count], text + place)",
        fixtures: &["native/block"],
    },
    Difference {
        why: DEFERRED,
        ending: Exit(1),
        says: "!any_libc_is_mapped()",
        fixtures: &["native/deferred_first/fork"],
    },
    Difference {
        why: DEFERRED,
        ending: Exit(1),
        says: "was_started()",
        fixtures: &[
            "native/deferred",
            "native/deferred_first/directory-full",
            "native/deferred_first/fork-full",
            "native/deferred_first/handler-full",
            "native/deferred_first/kernel",
            "native/deferred_first/kernel-full",
            "native/deferred_first/limit-full",
            "native/deferred_first/never-full",
            "native/deferred_first/variables-full",
            "native/deferred_threads",
            "native/deferred_told",
        ],
    },
    Difference {
        why: LD_SO,
        ending: Exit(1),
        says: "same(strings[count], text + place)",
        fixtures: &["native/environment"],
    },
    Difference { why: EXECUTABLE, ending: Exit(17), says: "", fixtures: &["native/executable_stack/native-asks"] },
    Difference {
        why: FIRST,
        ending: Exit(4),
        says: "held back",
        fixtures: &["native/exit_in_native_constructor/callback", "native/exit_in_native_constructor/exit"],
    },
    Difference {
        why: FIRST,
        ending: Exit(17),
        says: "native constructed\nlibrary initialised\n",
        fixtures: &["native/finalisers"],
    },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "!is_mapped(\"/libc.so.6\")",
        fixtures: &["native/library_with_libc"],
    },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "!is_mapped(\"libnative.so\")",
        fixtures: &["native/many_imports/some-lazy", "native/many_imports/some-now"],
    },
    Difference {
        why: FIRST,
        ending: Exit(127),
        says: "libgone.so: cannot open shared object file: No such file or directory",
        fixtures: &["native/missing_library/lazy", "native/unused"],
    },
    Difference {
        why: FIRST,
        ending: Exit(127),
        says: "missing_reported: ",
        fixtures: &[
            "native/missing_reported/direct",
            "native/missing_reported/deep",
            "native/missing_reported/open",
            "native/missing_reported/text",
        ],
    },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "!slul_dlopen(asked, SLUL_RTLD_NOW) && said_so()",
        fixtures: &[
            "native/missing_reported/deep-open",
            "native/missing_reported/deep-path",
            "native/missing_reported/absent",
            "native/missing_reported/user",
        ],
    },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "!any_libc_is_mapped() && slul_libc_state() == SLUL_LIBC_ABSENT",
        fixtures: &["native/missing_reported/nowhere"],
    },
    Difference {
        why: FIRST,
        ending: Exit(127),
        says: "undefined symbol: went_missing (in no native library)",
        fixtures: &["native/missing_symbol/no-plt", "native/missing_symbol/plt"],
    },
    Difference {
        why: PROC,
        ending: Exit(127),
        says: "libgone.so: cannot open shared object file: No such file or directory",
        fixtures: &["native/not_missing/token"],
    },
    Difference {
        why: TEMPLATE,
        ending: Exit(1),
        says: "is_mapped(\"__notice_libc_bogomapped_by_slul.so\")",
        fixtures: &[
            "native/notice/code",
            "native/notice/cut",
            "native/notice/directory",
            "native/notice/dynamic",
            "native/notice/empty",
            "native/notice/executable",
            "native/notice/installed",
            "native/notice/machine",
            "native/notice/memory",
            "native/notice/missing",
            "native/notice/offset",
            "native/notice/text",
        ],
    },
    Difference { why: FIRST, ending: Signal(11), says: "", fixtures: &["native/overrun/beyond"] },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "slul_load_libc() == -EPERM",
        fixtures: &["native/own_thread_pointer/answer"],
    },
    Difference {
        why: FIRST,
        ending: Exit(127),
        says: "native functions need the thread pointer that libc sets",
        fixtures: &[
            "native/own_thread_pointer/main",
            "native/own_thread_pointer/main-full",
            "native/own_thread_pointer/thread",
        ],
    },
    Difference { why: STUBS, ending: Exit(1), says: "targets.found == 0", fixtures: &["native/sealed_targets"] },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "status == 127 && refusal(text)",
        fixtures: &["native/shared_memory/deferred", "native/shared_memory/full"],
    },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "mask_of_constructor() == mask",
        fixtures: &["native/signal_mask"],
    },
    Difference {
        why: FIRST,
        ending: Exit(0),
        says: "constructed before the program",
        fixtures: &["native/waiting_constructor"],
    },
    Difference {
        why: LIST,
        ending: Exit(1),
        says: "not so: size == sizeof *info && count < 8",
        fixtures: &["open/iterate"],
    },
    Difference {
        why: SEARCH,
        ending: Exit(1),
        says: "liblarge.so: cannot open shared object file",
        fixtures: &["open/large_tls"],
    },
    Difference {
        why: FIRST,
        ending: Exit(1),
        says: "!slul_dlsym(SLUL_RTLD_DEFAULT, \"puts\")",
        fixtures: &["open/native"],
    },
    Difference { why: FIRST, ending: Exit(1), says: "mappings() == mapped", fixtures: &["open/refused"] },
];

const FIRST: &str = "libc, and native constructors, are there from the start, and what is missing is said then";
const LIST: &str = "dl_iterate_phdr and the list of mappings show libc and the tables that were made for it";
const ROOM: &str =
    "there is little room for thread-local storage, aligned to 64 bytes; more is refused with the numbers";
const SEARCH: &str =
    "a native library that slul_dlopen names is not searched for in the DT_RUNPATH of the program";
const TEMPLATE: &str = "there is no template, and nothing to be noticed";
const LD_SO: &str = "libc's ld.so acts on its own variables, as in every process that it starts";
const CANARY: &str = "the canary is libc's own";
const STUBS: &str =
    "the tables of addresses are sealed before the program begins, and opened once for its first call";
const PROC: &str = "/proc, and $ORIGIN, tell of the command line, environment and path of slulrtld-using-libc";
const STACK: &str = "the program's stack begins below frames of libc's, and libc knows nothing of that";

const DEFERRED: &str = "no start is deferred, and the loader is another file";
const STARTED: &str = "a start of libc by the program itself is a call of libc's function, which nothing notices";
const EXECUTABLE: &str = "libc's dlopen makes the stack executable where a library asks for it";

const REASONS: [&str; 13] =
    [FIRST, LIST, ROOM, SEARCH, TEMPLATE, LD_SO, CANARY, PROC, STACK, DEFERRED, EXECUTABLE, STUBS, STARTED];

/// The difference of a fixture, if it is known to have one.
fn difference(fixture: &str) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|difference| difference.fixtures.iter().any(|known| is_of(fixture, known)))
}

/// Whether a fixture is the one that an entry names, or a variant of it.
fn is_of(fixture: &str, known: &str) -> bool {
    fixture.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Judges a fixture by its outcome, and by what is wrong with that.
pub(crate) fn judge(fixture: &str, outcome: &Outcome, checked: Result<(), String>) -> Result<(), String> {
    match (checked, difference(fixture)) {
        (Err(error), Some(known)) if !known.is_so(outcome) => {
            let Difference { why, ending, says, .. } = known;
            Err(format!("fails otherwise than it is known to ({ending:?}, saying {says:?}): {why}\n{error}"))
        }
        (Ok(()), Some(known)) => Err(format!("differs no longer; it was known that {}", known.why)),
        (_, Some(_)) => Ok(()),
        (checked, None) => checked,
    }
}

impl Difference {
    /// Whether that is how it fails.
    fn is_so(&self, outcome: &Outcome) -> bool {
        let Outcome { ending, stdout, stderr } = outcome;
        let said = |text: &str| if self.says.is_empty() { text.is_empty() } else { text.contains(self.says) };
        *ending == self.ending
            && if self.says.is_empty() { said(stdout) && said(stderr) } else { said(stdout) || said(stderr) }
    }
}

/// Checks that each entry names a fixture, that an entry excuses no other failure than its own, and that no failure is excused
/// where there is no entry.
pub(crate) fn check(fixtures: &[String]) -> Result<(), String> {
    for known in DIFFERENCES.iter().flat_map(|difference| difference.fixtures) {
        let named = fixtures.iter().filter(|fixture| is_of(fixture, known));
        if named.clone().count() == 0 {
            return Err(format!("{known} is no fixture"));
        }
        for fixture in named {
            let Some(difference) = difference(fixture) else { return Err(format!("{fixture} is not found")) };
            let as_known =
                Outcome { ending: difference.ending, stdout: String::new(), stderr: difference.says.into() };
            let other_end = Outcome { ending: Ending::Hang, ..as_known.clone() };
            let says_else = Outcome { stderr: "gcc: error".into(), ..as_known.clone() };
            let failed = |outcome: &Outcome| judge(fixture, outcome, Err("failed".into()));
            let right = failed(&as_known).is_ok() && failed(&other_end).is_err() && failed(&says_else).is_err();
            if !right || judge(fixture, &as_known, Ok(())).is_ok() {
                return Err(format!("the entry of {fixture} excuses more or less than its failure"));
            }
        }
    }
    let other = Outcome { ending: Exit(1), stdout: String::new(), stderr: String::new() };
    if judge("native/other", &other, Err("failed".into())).is_ok()
        || judge("native/other", &other, Ok(())).is_err()
    {
        return Err("a fixture without an entry is not judged by its outcome".into());
    }
    Ok(())
}

/// Prints the number of differences and the reasons.
pub(crate) fn print() {
    let count = |all: &mut dyn Iterator<Item = &Difference>| all.map(|it| it.fixtures.len()).sum::<usize>();
    println!("known differences: {}", count(&mut DIFFERENCES.iter()));
    for why in REASONS {
        println!("  - {}: {why}", count(&mut DIFFERENCES.iter().filter(|it| it.why == why)));
    }
}
