//! Backtraces of the test program: the functions in them, and gdb's lines about them.

/// gdb's settings, for output that can be read by lines.
pub(crate) const SETTINGS: [&str; 6] = [
    "set confirm off",
    "set pagination off",
    "set width 0",
    "set debuginfod enabled off",
    "set breakpoint pending on",
    "set backtrace past-entry on",
];

/// Functions of a backtrace, the innermost first; other frames may be between them.
pub(crate) const FUNCTIONS: [&str; 4] = ["in_program", "in_library", "_start", NOTICE_FRAME];

/// The name of the page, and that of the last function.
pub(crate) const NOTICE: &str = "__notice_libc_bogomapped_by_slul.so";
pub(crate) const NOTICE_FRAME: &str = "__notice__libc_bogomapped_by_slul";

/// The function in a line of a backtrace: `#1  0x... in name (...) ...`, or without the address. With debugging
/// information for libc it is libc's internal name.
pub(crate) fn function(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip(1);
    let name = match words.next()? {
        address if address.starts_with("0x") => words.nth(1)?,
        name => name,
    };
    Some(name.trim_start_matches("__GI_"))
}
