//! The variables of the environment, by a table: one by one, off, repeated, and together.

use anyhow::{Context, Result, ensure};
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;

use tests::verdict::Complaints;
use tests::world::Case;

/// The output that a row expects besides the program's own line.
enum Shows {
    Nothing,
    /// A line on standard error with this beginning.
    Trace(&'static str),
    /// A line on standard output with this beginning.
    Output(&'static str),
    /// A line on standard output with this beginning; the program does not run.
    Instead(&'static str),
}

/// The environment; the output of a program with native needs; the further output of every program.
type Row = (&'static [&'static str], &'static str, Shows);

use Shows::{Instead, Nothing, Output, Trace};

const EAGER: &str = "LD_SLUL_EAGER_LOAD_LIBC=1";
const SLOW: &str = "LD_SLUL_SLOW_RELIABLE_LIBC_LOADING=1";
const DISABLE: &str = "LD_SLUL_DISABLE_LIBC_BOGOLOADING=1";

const TABLE: [Row; 30] = [
    (&[], "bare", Nothing),
    (&[EAGER], "eager", Nothing),
    (&["LD_SLUL_EAGER_LOAD_LIBC=yes"], "eager", Nothing),
    (&["LD_SLUL_EAGER_LOAD_LIBC=0"], "bare", Nothing),
    (&["LD_SLUL_EAGER_LOAD_LIBC="], "bare", Nothing),
    (&["LD_SLUL_EAGER_LOAD_LIBC"], "bare", Nothing),
    (&[SLOW], "using libc", Nothing),
    (&["LD_SLUL_SLOW_RELIABLE_LIBC_LOADING=0"], "bare", Nothing),
    (&["LD_SLUL_SLOW_RELIABLE_LIBC_LOADING="], "bare", Nothing),
    (&[DISABLE], "using libc", Nothing),
    (&["LD_SLUL_DISABLE_LIBC_BOGOLOADING=0"], "bare", Nothing),
    (&["LD_SLUL_DISABLE_LIBC_BOGOLOADING="], "bare", Nothing),
    // Variables are independent: one that is off does not change another.
    (&[SLOW, "LD_SLUL_DISABLE_LIBC_BOGOLOADING=0"], "using libc", Nothing),
    (&["LD_SLUL_SLOW_RELIABLE_LIBC_LOADING=0", DISABLE], "using libc", Nothing),
    (&[SLOW, DISABLE, EAGER], "using libc", Nothing),
    // The last counts.
    (&[EAGER, "LD_SLUL_EAGER_LOAD_LIBC=0"], "bare", Nothing),
    (&["LD_SLUL_EAGER_LOAD_LIBC=0", EAGER], "eager", Nothing),
    (&[SLOW, "LD_SLUL_SLOW_RELIABLE_LIBC_LOADING="], "bare", Nothing),
    (&["LD_SLUL_SLOW_RELIABLE_LIBC_LOADING=", SLOW], "using libc", Nothing),
    (&["LD_SLUL_DEBUG=reloc"], "bare", Trace("slulrtld: reloc: ")),
    (&["LD_SLUL_DEBUG=reloc", "LD_SLUL_DEBUG=0"], "bare", Nothing),
    (&["LD_SLUL_DEBUG=0"], "bare", Nothing),
    (&["LD_SLUL_DEBUG="], "bare", Nothing),
    (&["LD_SHOW_AUXV=1"], "bare", Output("AT_PHDR:")),
    (&["LD_SHOW_AUXV=0"], "bare", Nothing),
    (&["LD_BIND_NOW=1"], "bare", Nothing),
    (&["LD_TRACE_LOADED_OBJECTS=1"], "", Instead("\t/")),
    (&["LD_TRACE_LOADED_OBJECTS=1", "LD_TRACE_LOADED_OBJECTS=0"], "bare", Nothing),
    (&["LD_TRACE_LOADED_OBJECTS=", "LD_LIBRARY_PATH=", "LD_LIBRARY_PATH=/nowhere"], "bare", Nothing),
    (&["LD_SLUL_NO_SUCH=1", "LD_SLUL_EAGER_LOAD_LIBC_=1", "XLD_SLUL_EAGER_LOAD_LIBC=1"], "bare", Nothing),
];

/// Every row, for three programs: one for the plain start, one with a library, and one with native needs.
pub(crate) fn table(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for (strings, mode, shows) in &TABLE {
        for name in ["plain", "full", "native"] {
            let native = name == "native";
            let mode = if native { mode } else { "bare" };
            let start = case.start(&format!("variables/{name}"))?;
            let start = strings.iter().fold(start, |start, string| start.env(string));
            let checked = check(&start.run()?, mode, strings.len(), shows, name == "plain");
            complaints.note(format!("{name}, {strings:?}"), checked);
        }
    }
    complaints.verdict()
}

fn check(outcome: &Outcome, mode: &str, count: usize, shows: &Shows, alone: bool) -> Result<()> {
    let Outcome { ending, stdout, stderr } = outcome;
    let said = format!("{mode} {count:02}\n");
    let whole = format!("{ending:?}, standard output {stdout:?}, standard error {stderr:?}");
    let begins = |text: &str, start: &str| text.lines().any(|line| line.starts_with(start));
    let right = match shows {
        Nothing => *stdout == said && stderr.is_empty(),
        Trace(start) => *stdout == said && begins(stderr, start),
        Output(start) => stdout.ends_with(&said) && begins(stdout, start) && stderr.is_empty(),
        Instead(start) => {
            let listed = begins(stdout, start) || alone || stdout.contains("=>");
            return ensure_all(*ending == Ending::Exit(0) && listed && !stdout.contains("bare"), whole);
        }
    };
    ensure_all(*ending == Ending::Exit(SUCCESS) && right, format!("not `{}`: {whole}", said.trim_end()))
}

fn ensure_all(right: bool, otherwise: String) -> Result<()> {
    ensure!(right, otherwise);
    Ok(())
}

/// A set-id program: every variable is ignored and removed, repeated or not.
pub(crate) fn secure(case: Case<'_>) -> Result<()> {
    let all = TABLE.iter().flat_map(|(strings, _, _)| *strings).chain([&"LD_PRELOAD=/nowhere", &"LD_=", &"LD_X"]);
    let tunables = "GLIBC_TUNABLES=glibc.malloc.check=3";
    let start = case.start("variables/secure")?.env("A=1").env(tunables);
    let start = all.fold(start, |start, string| start.env(string)).env(tunables).env("Z=2");
    // Variables without the beginning LD_ stay: A, Z, XLD_... of the table.
    check(&start.run()?, "bare", 3, &Nothing, false).context("all of them at once")
}

/// `slulrtld-using-libc` is asked for and not installed: one line, which says what to install.
pub(crate) fn not_installed(case: Case<'_>) -> Result<()> {
    for variable in [SLOW, DISABLE] {
        let outcome = case.start("native/gnu")?.env(variable).run()?;
        tests::verdict::refused(
            &outcome,
            "/usr/libexec/slul/slulrtld-using-libc-x86_64-gnu: can not be executed",
        )?;
        // A program that can not need libc does not need it.
        tests::verdict::runs(&case.start("whole/sound")?.env(variable).run()?, "library\nprogram\n")?;
    }
    Ok(())
}
