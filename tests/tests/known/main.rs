//! Attacks that other loaders fell to, made on this one: each class of `docs/security.md` has a test with its name.
//!
//! | module | the attacker chooses |
//! |---|---|
//! | [`environment`] | the strings of the environment |
//! | [`search`] | the directories of libraries |
//! | [`resources`] | limits of memory and stack |
//! | [`files`] | an inspected file, or a FIFO in place of a file |
//! | [`handlers`] | the handler of a program |
//! | [`victim`] | runs a set-id program, and its copy without privileges |
//!
//! An attack on a set-id program is also made on a copy without privileges. It must succeed there wherever the loader
//! obeys an ordinary user, which shows that the attack works.
#![forbid(unsafe_code)]
#![allow(clippy::arithmetic_side_effects, reason = "an overflow is a panic, and that a failed test")]

mod environment;
mod files;
mod handlers;
mod resources;
mod search;
mod victim;

use std::process::ExitCode;

use anyhow::Result;
use tests::cases::{self, Entry, Need};

const CASES: &[Entry] = &[
    ("known/cve-2023-4911-tunables/secure", Need::Root, environment::tunables_secure),
    ("known/cve-2023-4911-tunables/ordinary", Need::Nothing, environment::tunables_ordinary),
    ("known/cve-2025-4802-late-secure/interpreter", Need::Root, search::late_interpreter),
    ("known/cve-2025-4802-late-secure/embed", Need::Root, search::late_embed),
    ("known/cve-2010-3847-origin-hard-link/runpath", Need::Root, search::origin_runpath),
    ("known/cve-2010-3847-origin-hard-link/rpath", Need::Root, search::origin_rpath),
    ("known/cve-2010-3847-origin-hard-link/needed", Need::Root, search::origin_needed),
    ("known/cve-2010-3847-origin-hard-link/deleted", Need::Root, search::origin_deleted),
    ("known/cve-2010-3856-audit/system-library", Need::Root, environment::audit_system_library),
    ("known/cve-2010-3856-audit/path", Need::Root, environment::audit_path),
    ("known/cve-2017-1000366-stack-clash/secure", Need::Root, resources::stack_clash_secure),
    ("known/cve-2017-1000366-stack-clash/ordinary", Need::Nothing, resources::stack_clash_ordinary),
    ("known/cve-2009-4146-unsetenv/malformed", Need::Root, environment::unsetenv_malformed),
    ("known/cve-2009-4146-unsetenv/repeated", Need::Root, environment::unsetenv_repeated),
    ("known/cve-2009-4146-unsetenv/many", Need::Root, environment::unsetenv_many),
    ("known/cve-2019-19726-allocation/limits", Need::RootAlone, resources::allocation_limits),
    ("known/cve-2019-19726-allocation/long-path", Need::RootAlone, resources::allocation_long_path),
    ("known/cve-2019-1010023-inspection/overlapping", Need::Nothing, files::inspect_overlapping),
    ("known/cve-2019-1010023-inspection/sound", Need::Nothing, files::inspect_sound),
    ("known/cve-2019-1010023-inspection/other-interpreter", Need::Nothing, files::inspect_other_interpreter),
    ("known/cve-2019-1010023-inspection/onto-loader", Need::Nothing, files::inspect_onto_loader),
    ("known/binfmt-credentials/extension", Need::Binfmt, handlers::credentials_extension),
    ("known/binfmt-credentials/unmarked", Need::Binfmt, handlers::credentials_unmarked),
    ("known/binfmt-credentials/system-programs", Need::Anybody, handlers::credentials_system_programs),
    ("known/seen-exec-loop/binfmt", Need::Binfmt, handlers::loop_binfmt),
    ("known/seen-exec-loop/rt0-as-loader", Need::Namespaces, handlers::loop_rt0_as_loader),
    ("known/seen-exec-loop/map-once", Need::Chroot, handlers::loop_map_once),
    ("known/seen-exec-loop/loader-as-program", Need::Nothing, handlers::loop_loader_as_program),
    ("known/seen-auxv-after-removal/both-worlds", Need::Root, environment::auxv_after_removal),
    ("known/seen-fifo/searched", Need::Nothing, files::fifo_searched),
    ("known/seen-fifo/native", Need::Nothing, files::fifo_native),
    ("known/seen-fifo/opened", Need::Root, files::fifo_opened),
    ("known/seen-fifo/inspected", Need::Nothing, files::fifo_inspected),
    ("known/seen-mmap-failure/ordinary", Need::Nothing, resources::no_room_ordinary),
    ("known/seen-mmap-failure/secure", Need::Root, resources::no_room_secure),
    ("known/seen-relative-runpath/relative", Need::Root, search::relative),
    ("known/seen-relative-runpath/empty", Need::Root, search::empty),
    ("known/seen-relative-runpath/needed", Need::Root, search::relative_needed),
    ("known/also-descriptors/secure", Need::Root, environment::descriptors_secure),
    ("known/also-unreadable/binfmt", Need::Binfmt, handlers::unreadable_binfmt),
    ("known/also-addresses/below-2-47", Need::Nothing, resources::addresses),
    ("known/also-executable/never-gained", Need::Nothing, resources::executable),
];

fn main() -> Result<ExitCode> {
    cases::main("known", CASES)
}
