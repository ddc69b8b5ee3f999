//! The cases of a test target: one test for each case, loader and user. A test that this machine can not run is listed
//! as ignored; the last line of the output counts them and gives the reasons.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::classes;
use crate::launch::{Ending, User};
use crate::root;
use crate::stage::{self, Stage};
use crate::start::{self, Start};
use crate::world::{Case, World};

/// What a case needs and some machines or users lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// Nothing, and the user makes no difference: it runs as one user.
    Anybody,
    /// A zlib built for musl, and musl's loader.
    Musl,
    /// The superuser, for a file that no other user can make.
    Root,
    /// The superuser, also for the program: no other process can change its user while it is traced.
    RootAlone,
    /// Another root directory, or mounts: the superuser, or user namespaces.
    Chroot,
    /// User namespaces, by unshare(1): runs as the user of the tests.
    Namespaces,
    /// The superuser, and a user namespace with a binfmt_misc of its own.
    Binfmt,
    /// An ordinary user.
    Ordinary,
}

/// A case: its name, its need, its function.
pub type Entry = (&'static str, Need, fn(Case<'_>) -> Result<()>);

/// The main function of a test target, whose programs are in its folder: runs the cases with both loaders.
///
/// With [`start::LAUNCH`] as its first argument it is the child that becomes a program under test.
///
/// # Errors
/// The staged trees are not there, or the sources of the programs can not be read. A test that fails is no error.
pub fn main(target: &str, cases: &[Entry]) -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(start::LAUNCH) {
        let Err(error) = start::launch(arguments);
        eprintln!("launcher: {error:#}");
        return Ok(ExitCode::from(u8::try_from(start::FAILED)?));
    }
    let arguments = Arguments::from_args();
    let users = User::all()?;
    let (mut trials, mut reasons) = (Vec::new(), BTreeSet::new());
    for stage in Stage::all()? {
        let world = Arc::new(World::new(stage, target)?);
        for &(name, need, case) in cases {
            for &user in users {
                let Some(lacking) = lacks(need, user) else { continue };
                let ignored = lacking.is_some();
                reasons.extend(lacking);
                let full_name = format!("{name}/{}/{}", world.stage.profile, user.name());
                let world = Arc::clone(&world);
                let run =
                    move || case(Case { world: &world, user }).map_err(|error| Failed::from(format!("{error:#}")));
                trials.push(Trial::test(full_name, run).with_ignored_flag(ignored));
            }
        }
    }
    trials.push(classes::trial(target, &trials));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.num_ignored > 0 {
        let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
        println!("{} tests left out: {reasons}", conclusion.num_ignored);
    }
    Ok(conclusion.exit_code())
}

/// The reason why a user can not run a case, if there is one; `None` if the case is not for this user.
fn lacks(need: Need, user: User) -> Option<Option<String>> {
    let unless = |there: bool, reason: &str| Some((!there).then(|| reason.to_owned()));
    let no_root = || (user == User::Oneself).then(|| "only root can make such files".to_owned());
    match (need, user) {
        (Need::RootAlone | Need::Anybody | Need::Namespaces | Need::Binfmt, User::Nobody)
        | (Need::Ordinary, User::Root) => None,
        (Need::Root | Need::RootAlone, _) => Some(no_root()),
        (Need::Musl, _) => unless(stage::musl().is_some(), "there is no zlib for musl"),
        (Need::Chroot, User::Oneself) => unless(has_user_namespaces(), "the kernel gives no user namespaces"),
        (Need::Namespaces, _) => Some(root::refusal()),
        (Need::Binfmt, _) => Some(no_root().or_else(root::binfmt_refusal)),
        _ => Some(None),
    }
}

/// Whether the kernel gives this user namespaces.
fn has_user_namespaces() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let outcome = Start::new(Path::new("/bin/true"), User::Oneself).chroot(Path::new("/")).run();
        outcome.is_ok_and(|outcome| outcome.ending == Ending::Exit(0))
    })
}
