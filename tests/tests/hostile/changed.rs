//! The program changes its process before its first native call. libc is what it would have been at the start, or the
//! program is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::damage::install;
use tests::launch::{Ending, Outcome, User};
use tests::recipe::SUCCESS;
use tests::start::Start;
use tests::workdir::Workdir;

use tests::verdict::{Complaints, REFUSED, Verdict, judge, runs};
use tests::world::Case;

const START: &str = "start\n";

/// Where libc is there before the program.
const EARLIER: &str = "LD_SLUL_EAGER_LOAD_LIBC=1";

/// A start, and one with libc there before the program.
fn lazily_and_eagerly(start: Start) -> [Start; 2] {
    [start.clone(), start.env(EARLIER)]
}

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

/// A name of a directory that can stand in a list.
const PLAIN: &str = "own";

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
        let step = if variable.is_empty() { "descriptor" } else { "directory" };
        let start = case.start(program)?.directory(&own).arg(step).arg(evil.path().to_string_lossy());
        let start = if variable.is_empty() { start } else { start.env(variable) };
        for earlier in [None, Some(EARLIER)] {
            let start = earlier.map_or_else(|| start.clone(), |variable| start.clone().env(variable));
            // An audit library that is none is said by ld.so, and left out.
            let outcome = start.run()?;
            let result = match variable.starts_with("LD_AUDIT") {
                true => {
                    // Where libc comes first the path need not be absolute.
                    let first = earlier.is_some() || name != PLAIN;
                    let named = first || outcome.stderr.contains(&own.display().to_string());
                    (outcome.stdout == START && named).then_some(()).with_context(|| format!("{outcome:?}"))
                }
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
    from_directory(case, PLAIN)
}

/// The path of the directory can not stand in a list, so libc comes before the program.
pub(crate) fn directory_without_name(case: Case<'_>) -> Result<()> {
    from_directory(case, "a:b")?;
    from_directory(case, "a $ORIGIN;b")
}

/// The directory of the start has no path: libc comes before the program, and finds what is there; nothing, if the directory has
/// been deleted. Nor does it matter to what is absolute that its path is longer than a path may be. (With something relative
/// glibc's ld.so ends by an assertion there, in an ordinary executable as well.)
pub(crate) fn directory_without_path(case: Case<'_>) -> Result<()> {
    let (mut complaints, evil) = (Complaints::default(), evil(case, "changed/evil")?);
    let evil = evil.path().to_string_lossy().into_owned();
    for (program, variable, library, expected) in [
        ("changed/run-dot", "A=1", "changed/run-dot", START),
        ("changed/full", "LD_LIBRARY_PATH=:/nowhere", "changed/kept", "kept\n"),
    ] {
        let around = Workdir::new()?;
        let path = |below: &str| around.path().join(below).to_string_lossy().into_owned();
        let (library_there, place, gone) = (path("libnative.so"), path("place"), path("gone"));
        install(&case.world.program(library)?.dir().join("libnative.so"), Path::new(&library_there))?;
        fs::create_dir(&place)?;
        around.open_to_all()?;
        for directory in [around.path(), Path::new(&place)] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o777))?;
        }
        let user: &[&str] = if case.user == User::Root { &[] } else { &["user"] };
        let unreachable = [user, &["namespace", "unreachable", &place, "link", &library_there]].concat();
        let rows = [
            (&unreachable[..], program, variable, expected),
            (&["deleted", &gone][..], "changed/full", "LD_LIBRARY_PATH=:/nowhere", START),
            (&["deep"][..], "changed/full", "A=1", START),
        ];
        for (steps, program, variable, expected) in rows {
            // Steps of the first program, which has nothing that is relative, then those of the other.
            let executed = case.world.program(program)?.path().to_string_lossy().into_owned();
            let start = case.start("changed/deferred")?.directory(around.path()).env(variable);
            let then = ["execute", &executed, "directory", &evil];
            let start = [steps, &then].concat().into_iter().fold(start, |start, step| start.arg(step));
            complaints.note(format!("{program} {steps:?}"), start.run().and_then(|it| runs(&it, expected)));
        }
    }
    complaints.verdict()
}

/// `slul_dlopen` of a path follows it from the current directory, as dlopen(3) does; of a name, the directories of the start.
pub(crate) fn opened(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    let (own, evil) = (Workdir::new()?, evil(case, "changed/evil")?);
    fs::create_dir(own.path().join("lib"))?;
    let library = case.world.program("changed/kept")?.dir().join("libnative.so");
    install(&library, &own.path().join("lib/libnative.so"))?;
    install(&library, &own.path().join("lib/libother.so"))?;
    install(
        &case.world.program("changed/evil")?.dir().join("libnative.so"),
        &evil.path().join("lib/libother.so"),
    )?;
    own.open_to_all()?;
    evil.open_to_all()?;
    let other = evil.path().to_string_lossy().into_owned();
    for (name, expected) in
        [("lib/libother.so", "evil\n"), ("./lib/../lib/libother.so", "evil\n"), ("libother.so", "kept\n")]
    {
        let start = case.start("changed/opens")?.directory(own.path()).env("LD_LIBRARY_PATH=lib");
        let start = start.arg("directory").arg(&other).arg("open").arg(name);
        complaints.note(name.to_owned(), start.run().and_then(|it| runs(&it, expected)));
    }
    complaints.verdict()
}

/// A trace goes to the directory of the start, to the end.
pub(crate) fn trace(case: Case<'_>) -> Result<()> {
    let (own, other) = (Workdir::new()?, Workdir::new()?);
    for directory in [&own, &other] {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))?;
    }
    let start = case.start("changed/full")?.directory(own.path());
    let start = start.arg("directory").arg(other.path().to_string_lossy());
    runs(&start.env("LD_SLUL_DEBUG=libc").env("LD_SLUL_DEBUG_OUTPUT=trace").run()?, START)?;
    let texts = fs::read_dir(own.path())?.map(|entry| Ok(fs::read_to_string(entry?.path())?));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    ensure!(texts.len() == 1 && texts.iter().all(|text| text.contains("bringing in")), "{texts:?}");
    ensure!(fs::read_dir(other.path())?.next().is_none(), "something is in the other directory");
    Ok(())
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
            for start in lazily_and_eagerly(start) {
                complaints.note(format!("{program} {variables:?}"), start.run().and_then(|it| runs(&it, START)));
            }
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
            for start in lazily_and_eagerly(start) {
                complaints.note(format!("{program} {steps:?}"), start.run().and_then(|it| runs(&it, START)));
            }
        }
    }
    complaints.verdict()
}

/// A program that closes all descriptors has libc all the same.
pub(crate) fn descriptors(case: Case<'_>) -> Result<()> {
    for program in ["changed/deferred", "changed/full"] {
        for start in lazily_and_eagerly(case.start(program)?.arg("close")) {
            runs(&start.run()?, START).context(program)?;
        }
    }
    Ok(())
}

/// What differs by design: native constructors run where the program is, and glibc's threads get stacks by the limit that holds,
/// when libc comes; eagerly both are the start's.
fn at_the_first_call(case: Case<'_>, steps: &[&str], lazily: &str, eagerly: &str) -> Result<()> {
    let start =
        steps.iter().fold(case.start("changed/full")?.directory(Path::new("/")), |start, step| start.arg(*step));
    for (start, expected) in lazily_and_eagerly(start.limit("stack", 8 << 20)).iter().zip([lazily, eagerly]) {
        runs(&start.run()?, &format!("{expected}\n{START}"))?;
    }
    Ok(())
}

/// The current directory of native constructors.
pub(crate) fn constructor(case: Case<'_>) -> Result<()> {
    at_the_first_call(case, &["directory", "/proc", "began"], "/proc", "/")
}

/// RLIMIT_STACK.
pub(crate) fn stack_limit(case: Case<'_>) -> Result<()> {
    at_the_first_call(case, &["limit", "stacks"], "1024", "8192")
}

/// Numbers of system calls that bringing libc in makes, on x86_64: read, open(at), mmap, mprotect, pread, arch_prctl,
/// statx, PR_GET_AUXV's prctl.
const FORBIDDEN: [&str; 8] = ["0", "257", "9", "10", "17", "158", "332", "157"];

/// How a program under a filter ended: it ran, or was refused in one line, with nothing else done.
fn refused_or_ran(outcome: &Outcome) -> Result<bool> {
    let lines = outcome.stderr.lines().count();
    let ran = outcome.ending == Ending::Exit(SUCCESS) && outcome.stdout == START && lines == 0;
    let refused = outcome.ending == Ending::Exit(REFUSED) && outcome.stdout.is_empty() && lines == 1;
    ensure!(ran || refused, "{outcome:?}");
    Ok(refused)
}

/// A filter that forbids what bringing libc in takes is one line, and nothing else comes of it. With libc there before by the
/// program's wish, nothing is taken; by the environment's, the first call still looks at the thread.
pub(crate) fn filters(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    let mut refused = 0;
    let forbidden = FORBIDDEN.map(|number| vec!["forbid", number]);
    for steps in forbidden.into_iter().chain([vec!["landlock"]]) {
        let with = |program| -> Result<Start> {
            Ok(steps.iter().fold(case.start(program)?, |start, step| start.arg(*step)))
        };
        let noted = with("changed/noted")?.run()?;
        if noted.stdout == "can not\n" && steps == ["landlock"] {
            // This kernel has no Landlock.
            continue;
        }
        complaints.note(format!("noted {steps:?}"), runs(&noted, START));
        for program in ["changed/deferred", "changed/full"] {
            for start in lazily_and_eagerly(with(program)?) {
                let result = refused_or_ran(&start.run()?);
                refused += usize::from(complaints.note(format!("{program} {steps:?}"), result) == Some(true));
            }
        }
    }
    ensure!(refused > 8, "only {refused} were refused");
    complaints.verdict()
}
