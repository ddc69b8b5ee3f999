//! The kernel's block without some of its usual entries, and with unusual strings.

use anyhow::{Context, Result, ensure};
use tests::launch::{Ending, Outcome};
use tests::recipe::SUCCESS;

use tests::start::Start;
use tests::tracer::Tracee;
use tests::verdict::{Complaints, Verdict, judge, runs};
use tests::world::Case;

const AT_IGNORE: u64 = 1;

/// Entries of the auxiliary vector without which every program runs: AT_SYSINFO_EHDR (the vDSO), AT_PAGESZ, AT_FLAGS,
/// AT_PLATFORM, AT_HWCAP, AT_CLKTCK, AT_SECURE, AT_HWCAP2, AT_RSEQ_*, AT_EXECFN, AT_MINSIGSTKSZ.
const NEEDLESS: [u64; 12] = [33, 6, 8, 15, 16, 17, 23, 26, 27, 28, 31, 51];

/// Entries without which a program runs or is refused: AT_PHDR, AT_PHENT, AT_PHNUM, AT_BASE, AT_ENTRY, the four ids,
/// AT_RANDOM.
const NEEDED: [u64; 10] = [3, 4, 5, 7, 9, 11, 12, 13, 14, 25];

/// A program, its output, and its possible outputs when it is refused.
type Program = (&'static str, &'static str, &'static [&'static str]);

const MUSL: Program = ("native/musl", "before\nafter\n", &["", "before\n"]);

/// The programs.
const PROGRAMS: [Program; 3] = [
    ("report/plain", "", &[""]),
    ("whole/sound", "library\nprogram\n", &[""]),
    ("native/gnu", "before\nafter\n", &["", "before\n"]),
];

/// Runs a program without those entries; returns also the name of the mapping in which it got its last signal.
fn run_without(start: &Start, keys: &[u64]) -> Result<(Outcome, String)> {
    let tracee = Tracee::start(start)?;
    let block = tracee.stack_pointer()?;
    let mut at = block + (tracee.word(block)? + 2) * 8;
    while tracee.word(at)? != 0 {
        at += 8;
    }
    at += 8;
    loop {
        let key = tracee.word(at)?;
        if key == 0 {
            break;
        }
        if keys.contains(&key) {
            tracee.set_word(at, AT_IGNORE)?;
        }
        at += 16;
    }
    tracee.finish_where()
}

/// Without entries that the loader can do without, one at a time and all at once, every program runs.
pub(crate) fn without_needless_entries(case: Case<'_>) -> Result<()> {
    needless(case, &PROGRAMS)
}

/// [`without_needless_entries`], with a first native call into musl.
pub(crate) fn without_needless_entries_musl(case: Case<'_>) -> Result<()> {
    needless(case, &[MUSL])
}

fn needless(case: Case<'_>, programs: &[Program]) -> Result<()> {
    let mut complaints = Complaints::default();
    for &(name, output, _) in programs {
        let start = case.start(name)?.arg("nothing");
        let each = NEEDLESS.iter().map(std::slice::from_ref);
        for keys in each.chain([NEEDLESS.as_slice()]) {
            let (outcome, place) = run_without(&start, keys)?;
            complaints.note(format!("{name} without {keys:?}, at {place}"), runs(&outcome, output));
        }
    }
    complaints.verdict()
}

/// Without entries that the loader needs, one at a time and all at once, a program is refused in one line, or runs.
pub(crate) fn without_needed_entries(case: Case<'_>) -> Result<()> {
    needed(case, &PROGRAMS)
}

/// [`without_needed_entries`], with a first native call into musl.
pub(crate) fn without_needed_entries_musl(case: Case<'_>) -> Result<()> {
    needed(case, &[MUSL])
}

fn needed(case: Case<'_>, programs: &[Program]) -> Result<()> {
    let mut complaints = Complaints::default();
    let mut refusals = 0;
    for &(name, output, before) in programs {
        let start = case.start(name)?.arg("nothing");
        let each = NEEDED.iter().map(std::slice::from_ref);
        for keys in each.chain([NEEDED.as_slice()]) {
            let (outcome, place) = run_without(&start, keys)?;
            let verdict = judge(&outcome, output, before);
            let verdict = complaints.note(format!("{name} without {keys:?}, at {place}"), verdict);
            refusals += usize::from(matches!(verdict, Some(Verdict::Refused(_))));
        }
    }
    complaints.verdict()?;
    ensure!(refusals > 1, "{refusals} refusals");
    Ok(())
}

/// Without AT_SECURE the loader compares the ids: a set-id program is secure all the same.
pub(crate) fn secure_by_ids(case: Case<'_>) -> Result<()> {
    let evil = case.world.program("whole/evil")?.dir().display().to_string();
    let start = case.start("whole/secure")?.env(&format!("LD_LIBRARY_PATH={evil}"));
    let (outcome, _) = run_without(&start, &[23])?;
    // The library is the right one. The program then finds no AT_SECURE and exits with 1.
    ensure!(outcome.stdout == "library\n" && outcome.ending == Ending::Exit(1), "{outcome:?}");
    Ok(())
}

/// The lines of `report` about its block.
fn report(start: Start) -> Result<(String, Outcome)> {
    let outcome = start.run()?;
    let ended = outcome.ending == Ending::Exit(SUCCESS) && outcome.stderr.is_empty();
    ensure!(ended, "{:?}, {:?}", outcome.ending, outcome.stderr);
    Ok((outcome.stdout.clone(), outcome))
}

/// Strings without `=`, empty ones, a very long one, very many: the program sees them all.
pub(crate) fn strings(case: Case<'_>) -> Result<()> {
    let long = format!("LONG={}", "x".repeat(64 << 10));
    let mut complaints = Complaints::default();
    for name in ["report/plain", "report/full", "report/native"] {
        let start = || Ok::<_, anyhow::Error>(case.start(name)?.arg("block"));
        for (about, start, variables, bytes) in [
            ("nothing", start()?, 0, 0),
            ("odd strings", start()?.env("NONE").env("").env("=").env("=x").env(""), 5, 7),
            ("our prefix without a value", start()?.env("LD_SLUL_").env("LD_SLUL_DEBUG").env("LD_"), 3, 24),
            ("a long string", start()?.env(&long), 1, long.len()),
            ("100 000 strings", start()?.env_many(100_000), 100_000, 100_000),
        ] {
            let expected = format!("arguments {:016x}\nvariables {variables:016x}\nbytes {bytes:016x}\n", 2);
            let result = report(start).and_then(|(printed, _)| {
                ensure!(printed.starts_with(&expected), "{printed:?}");
                Ok(())
            });
            complaints.note(format!("{name}, {about}"), result);
        }
    }
    complaints.verdict()
}

/// LD_LIBRARY_PATH of 64 KiB, and of 10 000 directories.
pub(crate) fn long_search_path(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for (about, path) in
        [("one long directory", "x".repeat(64 << 10)), ("many directories", "/nowhere:".repeat(10_000))]
    {
        for name in ["whole/sound", "native/gnu"] {
            let output = if name == "native/gnu" { "before\nafter\n" } else { "library\nprogram\n" };
            let outcome = case.start(name)?.env(&format!("LD_LIBRARY_PATH={path}")).run()?;
            complaints.note(format!("{name}, {about}"), runs(&outcome, output));
        }
    }
    complaints.verdict()
}

/// The last copy of a repeated variable counts, as for glibc's ld.so.
pub(crate) fn repeated_variable(case: Case<'_>) -> Result<()> {
    let evil = case.world.program("whole/evil")?.dir().display().to_string();
    let (evil, other) = (format!("LD_LIBRARY_PATH={evil}"), "LD_LIBRARY_PATH=/nowhere");
    let outcome = case.start("whole/sound")?.env(&evil).env(other).run()?;
    runs(&outcome, "library\nprogram\n").context("the evil library first")?;
    let outcome = case.start("whole/sound")?.env(other).env(&evil).run()?;
    runs(&outcome, "evil\nprogram\n").context("the evil library last")
}

/// execve without arguments. Since Linux 5.18 the kernel adds an empty argv[0].
pub(crate) fn no_arguments(case: Case<'_>) -> Result<()> {
    for (name, output, _) in PROGRAMS.iter().skip(1) {
        runs(&case.start(name)?.no_arguments().run()?, output).context(*name)?;
    }
    let loader = Start::new(&case.world.stage.loader(), case.user).no_arguments();
    tests::verdict::refused(&loader.run()?, "").context("the loader itself")
}
