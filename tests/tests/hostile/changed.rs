//! The program changes its process before its first native call. libc is what it would have been at the start, or the
//! program is told.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::damage::install;
use tests::launch::User;
use tests::start::Start;
use tests::workdir::Workdir;

use tests::verdict::{Complaints, Verdict, judge, runs};
use tests::world::Case;

const START: &str = "start\n";

/// Where libc is there before the program.
const EARLIER: &str = "LD_SLUL_EAGER_LOAD_LIBC=1";

/// A directory with the library of another program of the same name, and with it in `lib`.
fn evil(case: Case<'_>, program: &str) -> Result<Workdir> {
    let (directory, library) = (Workdir::new()?, case.world.program(program)?.dir().join("libnative.so"));
    fs::create_dir(directory.path().join("lib"))?;
    for name in ["libnative.so", "lib/libnative.so"] {
        install(&library, &directory.path().join(name))?;
    }
    // Whoever finds this one is told so.
    for name in ["libc.so.6", "lib/libc.so.6"] {
        fs::write(directory.path().join(name), "not a library\n")?;
    }
    directory.open_to_all()?;
    Ok(directory)
}

/// A program, the variable by which it finds its library, and what that would find elsewhere. By a variable the library of
/// `changed/kept` is found, which is not the program's own.
const PATHS: [(&str, &str, &str); 11] = [
    ("changed/run-dot", "", "changed/evil"),
    ("changed/run-empty", "", "changed/evil"),
    ("changed/rpath-dot", "", "changed/evil"),
    ("changed/needed", "", "changed/evil-needed"),
    ("changed/full", "LD_LIBRARY_PATH=lib", "changed/evil"),
    ("changed/full", "LD_LIBRARY_PATH=:/nowhere", "changed/evil"),
    ("changed/full", "LD_LIBRARY_PATH=/nowhere;", "changed/evil"),
    ("changed/full", "LD_PRELOAD=lib/libnative.so", "changed/evil"),
    ("changed/full", "LD_PRELOAD=./libnative.so libc.so.6", "changed/evil"),
    ("changed/full", "LD_AUDIT=./libnative.so", "changed/evil"),
    ("changed/deferred", "LD_LIBRARY_PATH=lib:", "changed/evil"),
];

/// Runs the programs from a directory of theirs, which is called `name`, and has them go to another one.
fn from_directory(case: Case<'_>, name: &str) -> Result<()> {
    let mut complaints = Complaints::default();
    for (program, variable, other) in PATHS {
        let (around, evil) = (Workdir::new()?, evil(case, other)?);
        let own = around.path().join(name);
        fs::create_dir_all(own.join("lib"))?;
        let expected = if variable.starts_with("LD_") && program == "changed/full" { "kept\n" } else { START };
        if program != "changed/deferred" {
            let library = if variable.is_empty() { program } else { "changed/kept" };
            let library = case.world.program(library)?.dir().join("libnative.so");
            for place in ["libnative.so", "lib/libnative.so"] {
                install(&library, &own.join(place))?;
            }
        }
        around.open_to_all()?;
        let start = case.start(program)?.directory(&own).arg("directory");
        let start = start.arg(evil.path().to_string_lossy());
        let start = if variable.is_empty() { start } else { start.env(variable) };
        for earlier in [None, Some(EARLIER)] {
            let start = earlier.map_or_else(|| start.clone(), |variable| start.clone().env(variable));
            // An audit library that is none is said by ld.so, and left out.
            let outcome = start.run()?;
            let result = match variable.starts_with("LD_AUDIT") {
                true => (outcome.stdout == START).then_some(()).with_context(|| format!("{outcome:?}")),
                false => runs(&outcome, expected),
            };
            complaints.note(format!("{program} {variable} {earlier:?}"), result);
        }
    }
    complaints.verdict()
}

/// Paths that depend on the current directory mean that of the start: in DT_RUNPATH, DT_RPATH, DT_NEEDED, and in
/// variables.
pub(crate) fn directory(case: Case<'_>) -> Result<()> {
    from_directory(case, "own")
}

/// The path of the directory can not stand in a list, so libc comes before the program.
pub(crate) fn directory_without_name(case: Case<'_>) -> Result<()> {
    from_directory(case, "a:b")?;
    from_directory(case, "a $ORIGIN;b")
}

/// What the program writes over the strings of its environment is no variable of ld.so's, and those of the start stay.
pub(crate) fn strings(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    let plain = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=1", "B=2"];
    let own = case.world.program("changed/full")?.dir().to_owned();
    let path = format!("LD_LIBRARY_PATH={}", own.display());
    for program in ["changed/deferred", "changed/full"] {
        for variables in [vec![], vec![path.as_str()], vec!["LD_BIND_NOW=1"], vec!["GLIBC_TUNABLES=a=b"]] {
            let start = case.start(program)?.arg("scribble");
            let start = plain.iter().chain(&variables).fold(start, |start, text| start.env(text));
            complaints.note(format!("{program} {variables:?}"), start.run().and_then(|it| runs(&it, START)));
        }
    }
    complaints.verdict()
}

/// Changes of the root directory, or of the mount namespace. All but the last are refused.
fn roots(case: Case<'_>, jail: &Path) -> Vec<(Vec<String>, bool)> {
    let path = jail.to_string_lossy().into_owned();
    let user: &[&str] = if case.user == User::Root { &[] } else { &["user"] };
    [
        (vec!["root", &path, "directory", "/"], true),
        (vec!["root", &path], true),
        (vec!["namespace"], true),
        (vec!["namespace", "pivot", &path], true),
        (vec!["root", "/"], false),
    ]
    .into_iter()
    .map(|(steps, refused)| (user.iter().copied().chain(steps).map(str::to_owned).collect(), refused))
    .collect()
}

fn with(start: Start, steps: &[String]) -> Start {
    steps.iter().fold(start, |start, step| start.arg(step))
}

/// A jail with an ld.so and a library of its owner's.
fn jail(case: Case<'_>) -> Result<Workdir> {
    let jail = Workdir::new()?;
    let interpreter = abi::libcs::Libc::Gnu.interpreter();
    for path in [interpreter, case.world.stage.loader().to_string_lossy().as_ref()] {
        let place = jail.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().context("no directory")?)?;
        install(Path::new(path), &place)?;
    }
    jail.open_to_all()?;
    Ok(jail)
}

/// In another root directory or mount namespace the first native call is refused, in a line that says what to do. Where
/// libc was there before, nothing is.
pub(crate) fn root(case: Case<'_>) -> Result<()> {
    let (jail, mut complaints) = (jail(case)?, Complaints::default());
    for (steps, refused) in roots(case, jail.path()) {
        for program in ["changed/deferred", "changed/full"] {
            let start = with(case.start(program)?, &steps);
            let verdict = start.clone().run().and_then(|outcome| judge(&outcome, START, &[""]));
            match complaints.note(format!("{program} {steps:?}"), verdict) {
                Some(Verdict::Refused(line)) if refused && line.contains("slul_load_libc() before") => {}
                Some(Verdict::Ran) if !refused => {}
                verdict => complaints.push(format!("{program} {steps:?}: {verdict:?}")),
            }
            let outcome = start.env(EARLIER).run()?;
            complaints.note(format!("{program} {steps:?} {EARLIER}"), runs(&outcome, START));
        }
        let outcome = with(case.start("changed/noted")?, &steps).run()?;
        complaints.note(format!("noted {steps:?}"), runs(&outcome, START));
    }
    complaints.verdict()
}

/// `slul_load_libc` before the change has libc there, and after it answers EPERM and changes nothing.
pub(crate) fn root_asked(case: Case<'_>) -> Result<()> {
    let (jail, mut complaints) = (jail(case)?, Complaints::default());
    for (steps, refused) in roots(case, jail.path()) {
        let before = with(case.start("changed/asked")?.arg("ask"), &steps).run()?;
        complaints.note(format!("before {steps:?}"), runs(&before, "there\nstart\n"));
        let after = with(case.start("changed/asked")?, &steps).arg("ask").arg("ask").run()?;
        let result = match refused {
            true => judge(&after, "", &["EPERM\nEPERM\n"]).and_then(|verdict| {
                ensure!(verdict != Verdict::Ran, "it ran");
                Ok(())
            }),
            false => runs(&after, "there\nthere\nstart\n"),
        };
        complaints.note(format!("after {steps:?}"), result);
    }
    complaints.verdict()
}

/// Privileges that the program has given up are no reason to refuse.
pub(crate) fn privileges(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for program in ["changed/deferred", "changed/full"] {
        for steps in [&["nobody"][..], &["no-new-privileges"], &["no-new-privileges", "nobody"]] {
            let start = steps.iter().fold(case.start(program)?, |start, step| start.arg(*step));
            complaints.note(format!("{program} {steps:?}"), start.run().and_then(|it| runs(&it, START)));
        }
    }
    complaints.verdict()
}

/// A program that closes all descriptors has libc all the same.
pub(crate) fn descriptors(case: Case<'_>) -> Result<()> {
    for program in ["changed/deferred", "changed/full"] {
        runs(&case.start(program)?.arg("close").run()?, START).context(program)?;
    }
    Ok(())
}

/// Numbers of system calls that bringing libc in makes, on x86_64: read, open(at), mmap, mprotect, pread, arch_prctl,
/// statx, PR_GET_AUXV's prctl.
const FORBIDDEN: [&str; 8] = ["0", "257", "9", "10", "17", "158", "332", "157"];

/// A filter that forbids what bringing libc in takes is one line, and nothing else comes of it.
pub(crate) fn filters(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    let mut refused = 0;
    for program in ["changed/deferred", "changed/full"] {
        let forbidden = FORBIDDEN.map(|number| vec!["forbid", number]);
        for steps in forbidden.into_iter().chain([vec!["landlock"]]) {
            let start = steps.iter().fold(case.start(program)?, |start, step| start.arg(*step));
            let outcome = start.run()?;
            if outcome.stdout == "can not\n" && steps == ["landlock"] {
                // This kernel has no Landlock.
                continue;
            }
            let lines = outcome.stderr.lines().count();
            let ran =
                outcome.ending == tests::launch::Ending::Exit(tests::recipe::SUCCESS) && outcome.stdout == START;
            let told = outcome.ending == tests::launch::Ending::Exit(tests::verdict::REFUSED) && lines == 1;
            refused += usize::from(told);
            if !(ran && lines == 0 || told && outcome.stdout.is_empty()) {
                complaints.push(format!("{program} {steps:?}: {outcome:?}"));
            }
        }
    }
    ensure!(refused > 8, "only {refused} were refused");
    complaints.verdict()
}
