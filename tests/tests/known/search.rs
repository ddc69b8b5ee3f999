//! Attacks by the directories of libraries.

use anyhow::{Context, Result, ensure};
use tests::start::Start;
use tests::world::Case;

use crate::victim::{Expected, Lair, attacked, obeyed};

/// glibc: a static set-id program that opened libraries obeyed LD_LIBRARY_PATH, because AT_SECURE was read after it.
fn late(case: Case<'_>, program: &str) -> Result<()> {
    let lair = Lair::new(case)?;
    let victim = case.world.program(program)?.path();
    let [first, second] = lair.libraries();
    let attack = |start: Start| {
        start.arg(&first).arg(&second).env("HOME=/").env(&format!("LD_LIBRARY_PATH={}", lair.path().display()))
    };
    obeyed(case, victim, attack, Expected::Ran("program\nevil library\nevil native\n"))?;
    let mut outcome = attack(Start::new(victim, case.user)).run()?;
    let tried = lair.path().display().to_string();
    ensure!(!outcome.stdout.contains(&tried), "{} was searched: {}", tried, outcome.stdout);
    // Who needs it, and where it was looked for, follows.
    outcome.stdout =
        outcome.stdout.lines().flat_map(|line| [line.split("; ").next().unwrap_or_default(), "\n"]).collect();
    let missing = "cannot open shared object file: not found";
    let expected = format!("program\nlibone.so: {missing}\nlibtwo.so: {missing}\n");
    Expected::Ran(&expected).of(&outcome).context("with privileges")
}

/// With the loader in PT_INTERP.
pub(crate) fn late_interpreter(case: Case<'_>) -> Result<()> {
    late(case, "opener/interpreter")
}

/// The static file with the loader in it (`rt0-embed.o`).
pub(crate) fn late_embed(case: Case<'_>) -> Result<()> {
    late(case, "opener/embed")
}

/// libc's message about a library that it does not find.
fn libcs_line(program: &str, library: &str) -> String {
    const MISSING: &str = "cannot open shared object file: No such file or directory";
    format!("{program}: error while loading shared libraries: {library}: {MISSING}")
}

/// A hard link to a program gives its `$ORIGIN` to the user who makes the link.
fn linked(
    case: Case<'_>,
    program: &str,
    obedient: &str,
    refused: impl Fn(&str) -> (String, String),
) -> Result<()> {
    let victim = case.world.program(program)?.path();
    let lair = Lair::new(case)?;
    let copy = lair.copy(victim)?;
    Expected::Ran(obedient).of(&Start::new(&copy, case.user).run()?).context("without privileges")?;
    let link = lair.hard_link(victim)?;
    let (stdout, line) = refused(&link.display().to_string());
    Expected::Refused(&stdout, &line).of(&Start::new(&link, case.user).run()?).context("with privileges")
}

/// DT_RUNPATH is `$ORIGIN`: that entry is left out, and so the library is not found.
pub(crate) fn origin_runpath(case: Case<'_>) -> Result<()> {
    let found =
        |library: &'static str| move |program: &str| ("program\n".to_owned(), libcs_line(program, library));
    linked(case, "victim/origin", "evil library\nprogram\n", found("libone.so"))?;
    linked(case, "victim/origin-native", "program\nevil native\n", found("libtwo.so"))
}

/// DT_RPATH is `$ORIGIN`.
pub(crate) fn origin_rpath(case: Case<'_>) -> Result<()> {
    let found =
        |library: &'static str| move |program: &str| ("program\n".to_owned(), libcs_line(program, library));
    linked(case, "victim/rpath", "evil library\nprogram\n", found("libone.so"))?;
    linked(case, "victim/rpath-native", "program\nevil native\n", found("libtwo.so"))
}

/// DT_NEEDED begins with `$ORIGIN`.
pub(crate) fn origin_needed(case: Case<'_>) -> Result<()> {
    let refused = |name: &'static str| {
        move |_: &str| {
            (String::new(), format!("slulrtld: {name}: {name}: not a name to follow in a set-id program"))
        }
    };
    linked(case, "victim/named", "evil library\nprogram\n", refused("$ORIGIN/libone.so"))?;
    linked(case, "victim/named-native", "program\nevil native\n", refused("$ORIGIN/libtwo.so"))
}

/// The published exploit: the program is executed by a descriptor whose link in /proc reads `PATH (deleted)`, a
/// directory of that name has the attacker's libraries, and variables name it by `$ORIGIN`.
pub(crate) fn origin_deleted(case: Case<'_>) -> Result<()> {
    let victim = case.world.program("victim/both")?.path();
    for (variable, value, obedient) in [
        ("LD_AUDIT", "$ORIGIN/libtwo.so", "library\nprogram\nevil native\nevil audit\nnative\n"),
        ("LD_PRELOAD", "$ORIGIN/libtwo.so", "library\nprogram\nnative\nevil native\n"),
        ("LD_LIBRARY_PATH", "$ORIGIN", "evil library\nprogram\nevil native\n"),
    ] {
        for privileged in [false, true] {
            let lair = Lair::new(case)?;
            let program = if privileged { lair.hard_link(victim)? } else { lair.copy(victim)? };
            let start = Start::new("/proc/self/fd/3".as_ref(), case.user).open(&program).unlink(&program);
            let [first, second] = lair.libraries();
            let start = start.arg("see").arg(first).arg(second).env(&format!("{variable}={value}"));
            let expected = if privileged { "library\nprogram\nnative\n" } else { obedient };
            let outcome = start.run()?;
            Expected::Ran(expected)
                .of(&outcome)
                .with_context(|| format!("{variable}, privileged: {privileged}"))?;
        }
    }
    Ok(())
}

/// A program that finds its library relative to the current directory.
fn from_directory(case: Case<'_>, program: &str, refused: impl Fn(&str) -> (String, String)) -> Result<()> {
    let victim = case.world.program(program)?.path();
    let lair = Lair::new(case)?;
    let attack = |start: Start| start.directory(lair.path());
    obeyed(case, victim, attack, Expected::Ran("evil library\nprogram\n"))?;
    let (stdout, line) = refused(&victim.display().to_string());
    attacked(case, victim, attack, Expected::Refused(&stdout, &line))
}

/// DT_RUNPATH is a relative path.
pub(crate) fn relative(case: Case<'_>) -> Result<()> {
    from_directory(case, "victim/relative", |program| ("program\n".to_owned(), libcs_line(program, "libone.so")))
}

/// DT_RUNPATH has an empty entry.
pub(crate) fn empty(case: Case<'_>) -> Result<()> {
    from_directory(case, "victim/empty", |program| ("program\n".to_owned(), libcs_line(program, "libone.so")))
}

/// DT_NEEDED is a relative path.
pub(crate) fn relative_needed(case: Case<'_>) -> Result<()> {
    const LINE: &str = "slulrtld: ./libone.so: ./libone.so: not a name to follow in a set-id program";
    from_directory(case, "victim/relative-named", |_| (String::new(), LINE.to_owned()))
}
