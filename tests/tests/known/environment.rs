//! Attacks by the strings of the environment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::launch::Ending;
use tests::recipe::SUCCESS;
use tests::start::Start;
use tests::verdict::Complaints;
use tests::workdir::Workdir;
use tests::world::Case;

use crate::victim::{Expected, Lair, attacked, obeyed};

/// Output of `victim/both` with its own libraries.
const OWN: &str = "library\nprogram\nnative\n";

/// A setting that glibc 2.34 to 2.38 copied beyond its buffer: it parsed `a=a=x` as two settings.
fn twice(length: usize) -> String {
    const NAME: &str = "glibc.malloc.mxfast=";
    format!("GLIBC_TUNABLES={NAME}{NAME}{}", "A".repeat(length))
}

/// The environment of the published exploits.
fn tunables() -> Vec<String> {
    let mut strings = vec![twice(0), twice(0x400), twice(64 << 10)];
    strings.extend(vec![twice(24); 50]);
    strings.push("GLIBC_TUNABLES=glibc.rtld.optional_static_tls=glibc.rtld.optional_static_tls=1".to_owned());
    strings.push("GLIBC_TUNABLES=:::=:=:glibc.".to_owned());
    strings.push("GLIBC_TUNABLES".to_owned());
    strings.push(format!("\"\"{}", "B".repeat(0x1000)));
    strings
}

fn with(start: Start, strings: &[String]) -> Start {
    strings.iter().fold(start, |start, string| start.env(string))
}

/// A secure process: GLIBC_TUNABLES is removed, for the program and for libc.
pub(crate) fn tunables_secure(case: Case<'_>) -> Result<()> {
    let attack = |start: Start| with(start.arg("see"), &tunables());
    attacked(case, case.world.program("victim/both")?.path(), attack, Expected::Ran(OWN))
}

/// An ordinary process: the strings are never edited in place, also in programs that open libraries, for which the
/// loader asks libc by this variable for more room.
pub(crate) fn tunables_ordinary(case: Case<'_>) -> Result<()> {
    // The first string counts: each kind is first once. Those in the middle are of one kind.
    for string in [0, 1, 2, 3, 53, 54, 55, 56] {
        let mut strings = tunables();
        strings.swap(0, string);
        let expected: String = strings.iter().map(|string| format!("[{string}]\n")).collect();
        let expected = format!("program\n{expected}{expected}");
        let outcome = with(Start::new(case.world.program("tunables")?.path(), case.user), &strings).run()?;
        Expected::Ran(&expected).of(&outcome).with_context(|| format!("string {string} first"))?;
    }
    Ok(())
}

/// glibc: LD_AUDIT made a set-id program load any library of the system, and libpcprofile.so writes a file when it is
/// loaded.
pub(crate) fn audit_system_library(case: Case<'_>) -> Result<()> {
    let directory = Workdir::new()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))?;
    let profile = directory.path().join("profile");
    for variable in ["LD_AUDIT", "LD_PRELOAD"] {
        let attack = |start: Start| {
            let start = start.arg("see").arg("libpcprofile").env(&format!("{variable}=libpcprofile.so"));
            start.env(&format!("PCPROFILE_OUTPUT={}", profile.display()))
        };
        let start = attack(Start::new(Path::new("/usr/bin/true"), case.user));
        ensure!(start.run()?.ending == Ending::Exit(0), "true");
        ensure!(profile.exists(), "libpcprofile.so does not write a file any more by {variable}: try another one");
        fs::remove_file(&profile)?;
        attacked(case, case.world.program("victim/both")?.path(), attack, Expected::Ran(OWN)).context(variable)?;
        ensure!(!profile.exists(), "{variable}: a file was written");
    }
    Ok(())
}

/// LD_AUDIT and LD_PRELOAD with a library's path, or with a name that LD_LIBRARY_PATH finds.
pub(crate) fn audit_path(case: Case<'_>) -> Result<()> {
    let lair = Lair::new(case)?;
    let library = lair.place("libtwo.so");
    let victim = case.world.program("victim/both")?.path();
    for (variable, obedient) in [
        ("LD_PRELOAD", "library\nprogram\nnative\nevil native\n"),
        ("LD_AUDIT", "library\nprogram\nevil native\nevil audit\nnative\n"),
    ] {
        let attack = |start: Start| start.arg("see").arg(&library).env(&format!("{variable}={library}"));
        obeyed(case, victim, attack, Expected::Ran(obedient)).context(variable)?;
        attacked(case, victim, attack, Expected::Ran(OWN)).context(variable)?;
        let attack = |start: Start| {
            let start = start.arg("see").arg(&library).env(&format!("{variable}=libtwo.so"));
            start.env(&format!("LD_LIBRARY_PATH={}", lair.path().display()))
        };
        attacked(case, victim, attack, Expected::Ran(OWN)).with_context(|| format!("{variable} by name"))?;
    }
    Ok(())
}

/// Strings that unsetenv(3) refuses, before and between variables that must be removed.
fn malformed(lair: &Lair) -> [String; 10] {
    let libraries = lair.path().display();
    [
        "NOVALUE".to_owned(),
        String::new(),
        "LD_PRELOAD".to_owned(),
        "=".to_owned(),
        format!("=LD_LIBRARY_PATH={libraries}"),
        format!("LD_LIBRARY_PATH={libraries}"),
        "LD_".to_owned(),
        format!("LD_PRELOAD={}", lair.place("libtwo.so")),
        "LD_=".to_owned(),
        "Z=2".to_owned(),
    ]
}

/// FreeBSD's loader removed variables by a function that fails at a string without `=`, and ignored its result.
pub(crate) fn unsetenv_malformed(case: Case<'_>) -> Result<()> {
    let lair = Lair::new(case)?;
    let strings = malformed(&lair);
    let [first, second] = lair.libraries();
    let kept = format!("[NOVALUE]\n[]\n[=]\n[=LD_LIBRARY_PATH={}]\n[Z=2]\n", lair.path().display());
    let victim = case.world.program("victim/both")?.path();
    let attack = |start: Start| with(start.arg("list").arg(&first).arg(&second), &strings);
    obeyed(case, victim, attack, Expected::Ran("evil library\nprogram\nevil native\n"))?;
    let expected = format!("library\nprogram\n{kept}native\n{kept}");
    attacked(case, victim, attack, Expected::Ran(&expected))
}

/// All copies of a repeated variable are removed.
pub(crate) fn unsetenv_repeated(case: Case<'_>) -> Result<()> {
    let lair = Lair::new(case)?;
    let path = format!("LD_LIBRARY_PATH={}", lair.path().display());
    let preload = format!("LD_PRELOAD={}", lair.place("libtwo.so"));
    let [first, second] = lair.libraries();
    let victim = case.world.program("victim/both")?.path();
    let attack = |start: Start| {
        let start = start.arg("list").arg(&first).arg(&second).env("A=1");
        let repeated = (0..100).fold(start, |start, _| start.env(&path).env(&preload).env("GLIBC_TUNABLES=x=y"));
        repeated.env("A=2").env(&path).env("A=3")
    };
    obeyed(case, victim, attack, Expected::Ran("evil library\nprogram\nevil native\n"))?;
    let kept = "[A=1]\n[A=2]\n[A=3]\n";
    attacked(case, victim, attack, Expected::Ran(&format!("library\nprogram\n{kept}native\n{kept}")))
}

/// Variables behind 100 000 others are removed, and so is one of 64 KiB.
pub(crate) fn unsetenv_many(case: Case<'_>) -> Result<()> {
    let lair = Lair::new(case)?;
    let [first, second] = lair.libraries();
    let attack = |start: Start| {
        let start = start.arg("see").arg(&first).arg(&second).env_many(100_000);
        let start = start.env(&format!("LD_LIBRARY_PATH={}", lair.path().display()));
        start.env(&format!("LD_PRELOAD={}:{}", lair.place("libtwo.so"), "x".repeat(64 << 10)))
    };
    attacked(case, case.world.program("victim/both")?.path(), attack, Expected::Ran(OWN))
}

/// glibc closes the holes of removed variables in envp, and leaves auxv at its place. The victim scans for auxv behind
/// envp's NULL, its own and libc's, with no string removed, one, all of them, and an odd number.
pub(crate) fn auxv_after_removal(case: Case<'_>) -> Result<()> {
    let victim = case.world.program("victim/both")?.path();
    let mut complaints = Complaints::default();
    for removed in 0..8 {
        for kept in 0..3 {
            let attack = |start: Start| {
                let start =
                    (0..removed).fold(start.arg("see"), |start, number| start.env(&format!("LD_{number}=")));
                let start = if removed > 1 { start.env("TMPDIR=/nowhere").env("LOCPATH=/nowhere") } else { start };
                (0..kept).fold(start, |start, _| start.env("A=b").env("LD_DEBUG=all"))
            };
            let result = attacked(case, victim, attack, Expected::Ran(OWN));
            complaints.note(format!("{removed} removed, {kept} kept"), result);
        }
    }
    complaints.verdict()
}

/// A set-id program that is started without some of descriptors 0 to 2 has all three, and no others.
pub(crate) fn descriptors_secure(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for name in ["descriptors/plain", "descriptors/library", "descriptors/native"] {
        for closed in 0..8 {
            let start = Start::new(case.world.program(name)?.path(), case.user).arg(closed.to_string());
            let start = (0..3).filter(|fd| closed >> fd & 1 == 1).fold(start, Start::close);
            let outcome = start.run()?;
            if outcome.ending != Ending::Exit(SUCCESS) || !outcome.stderr.is_empty() {
                complaints.push(format!("{name}, closed {closed:03b}: {outcome:?}"));
            }
        }
    }
    complaints.verdict()
}
