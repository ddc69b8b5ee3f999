//! Fixtures that behave differently under `slulrtld-using-libc`, with the reasons. The test of such a fixture fails
//! once the difference is gone, so that it is removed from this list. Every run prints the number of differences and
//! the reasons.

/// A fixture, or one variant of it, and the reason.
const DIFFERENCES: [(&str, &str); 82] = [
    ("musl/canary", CANARY),
    ("musl/data/pie", COPY),
    ("musl/first_call_in_finaliser", FIRST),
    ("musl/lists", FIRST),
    ("musl/open_native", FIRST),
    ("musl/open_tls_before", FIRST),
    ("musl/stack_range", STACK),
    ("musl/starts_musl", STARTED),
    ("musl/template", TEMPLATE),
    ("musl/tls_alignment", ROOM),
    ("musl/zlib", FIRST),
    ("native/block", PROC),
    ("native/copied/now", COPY),
    ("native/copied/pie", COPY),
    ("native/deferred", DEFERRED),
    ("native/deferred_first/directory-full", DEFERRED),
    ("native/deferred_first/fork", DEFERRED),
    ("native/deferred_first/fork-full", DEFERRED),
    ("native/deferred_first/handler-full", DEFERRED),
    ("native/deferred_first/kernel", DEFERRED),
    ("native/deferred_first/kernel-full", DEFERRED),
    ("native/deferred_first/limit-full", DEFERRED),
    ("native/deferred_first/never-full", DEFERRED),
    ("native/deferred_first/variables-full", DEFERRED),
    ("native/deferred_threads", DEFERRED),
    ("native/deferred_told", DEFERRED),
    ("native/eager_off", FIRST),
    ("native/environment", LD_SO),
    ("native/executable_stack/native-asks", EXECUTABLE),
    ("native/exit_in_native_constructor/callback", FIRST),
    ("native/exit_in_native_constructor/exit", FIRST),
    ("native/finalisers", FIRST),
    ("native/first_call_in_finaliser", FIRST),
    ("native/library_with_libc", FIRST),
    ("native/load_libc", FIRST),
    ("native/many_imports/some-lazy", FIRST),
    ("native/many_imports/some-now", FIRST),
    ("native/misaligned/deferred", STUBS),
    ("native/misaligned/misaligned", STUBS),
    ("native/missing_library/lazy", FIRST),
    ("native/missing_reported", FIRST),
    ("native/missing_symbol/no-plt", FIRST),
    ("native/missing_symbol/plt", FIRST),
    ("native/not_missing/token", PROC),
    ("native/notice/code", TEMPLATE),
    ("native/notice/cut", TEMPLATE),
    ("native/notice/directory", TEMPLATE),
    ("native/notice/dynamic", TEMPLATE),
    ("native/notice/empty", TEMPLATE),
    ("native/notice/executable", TEMPLATE),
    ("native/notice/installed", TEMPLATE),
    ("native/notice/machine", TEMPLATE),
    ("native/notice/memory", TEMPLATE),
    ("native/notice/missing", TEMPLATE),
    ("native/notice/offset", TEMPLATE),
    ("native/notice/text", TEMPLATE),
    ("native/overrun/beyond", FIRST),
    ("native/own_thread_pointer/answer", FIRST),
    ("native/own_thread_pointer/eager", FIRST),
    ("native/own_thread_pointer/main", FIRST),
    ("native/own_thread_pointer/main-full", FIRST),
    ("native/own_thread_pointer/thread", FIRST),
    ("native/own_thread_pointer/tls", FIRST),
    ("native/own_thread_pointer/tls-thread", FIRST),
    ("native/sealed_targets", STUBS),
    ("native/shared_memory/deferred", FIRST),
    ("native/shared_memory/full", FIRST),
    ("native/signal_mask", FIRST),
    ("native/signal_storm", FIRST),
    ("native/stack_range", STACK),
    ("native/template", TEMPLATE),
    ("native/tls_alignment", ROOM),
    ("native/tls_zeros", ROOM),
    ("native/unused", FIRST),
    ("native/waiting_constructor", FIRST),
    ("native/zlib", FIRST),
    ("open/growth", FIRST),
    ("open/iterate", LIST),
    ("open/large_tls", SEARCH),
    ("open/native", FIRST),
    ("open/refused", FIRST),
    ("open/tls_before", FIRST),
];

const FIRST: &str = "libc, and native constructors, are there from the start, and what is missing is said then";
const LIST: &str = "dl_iterate_phdr and the list of mappings show libc and the tables that were made for it";
const COPY: &str = "data of native libraries can not be copied into the program; refused by name";
const ROOM: &str =
    "there is little room for thread-local storage, aligned to 64 bytes; more is refused with the numbers";
const SEARCH: &str =
    "a native library that slul_dlopen names is not searched for in the DT_RUNPATH of the program";
const TEMPLATE: &str = "there is no template, and nothing to be noticed";
const LD_SO: &str = "libc's ld.so acts on its own variables, as in every process that it starts";
const CANARY: &str = "the canary is libc's own";
const STUBS: &str = "there are no stubs, and the tables of addresses serve the binding alone";
const PROC: &str = "/proc, and $ORIGIN, tell of the command line, environment and path of slulrtld-using-libc";
const STACK: &str = "the program's stack begins below frames of libc's, and libc knows nothing of that";

const DEFERRED: &str = "no start is deferred, and the loader is another file";
const STARTED: &str = "a start of libc by the program itself is a call of libc's function, which nothing notices";
const EXECUTABLE: &str = "libc's dlopen makes the stack executable where a library asks for it";

const REASONS: [&str; 14] =
    [FIRST, LIST, COPY, ROOM, SEARCH, TEMPLATE, LD_SO, CANARY, PROC, STACK, DEFERRED, EXECUTABLE, STUBS, STARTED];

/// The reason for which a fixture differs, if it is known to.
pub(crate) fn difference(fixture: &str) -> Option<&'static str> {
    let is =
        |known: &str| fixture.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    DIFFERENCES.iter().find(|(known, _)| is(known)).map(|(_, why)| *why)
}

/// Prints the number of differences and the reasons.
pub(crate) fn print() {
    println!("known differences: {}", DIFFERENCES.len());
    for why in REASONS {
        println!("  - {}: {why}", DIFFERENCES.iter().filter(|(_, known)| *known == why).count());
    }
}
