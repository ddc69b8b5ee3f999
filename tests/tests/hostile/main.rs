//! Whole processes in hostile surroundings: whatever the machine does, the program runs or is refused in one line.
//!
//! | module | the surroundings |
//! |---|---|
//! | [`faults`] | the loader's system calls fail, one at a time |
//! | [`descriptors`] | standard input, output and error are closed |
//! | [`limits`] | memory, stack or descriptors are limited |
//! | [`bare`] | there is no /proc, /dev or /etc; the mount forbids to execute |
//! | [`absent`] | libc's ld.so is missing, damaged, or may not be read |
//! | [`changed`] | the program has changed directory, root, namespaces, privileges or filters before libc comes |
//! | [`block`] | the kernel's block lacks entries, or has absurd ones |
//! | [`bounds`] | names and search paths are long, and share their bytes |
//! | [`output`] | output may not go where it is sent; calls of the system are unknown |
//! | [`persona`] | the address space has another layout |
//! | [`signals`] | signals are blocked and ignored: they stay so |
//! | [`kinds`] | DT_NEEDED names a file that is not regular, or can not be read |
//! | [`races`] | a file changes while it is being mapped |
//! | [`many`] | DT_NEEDED is very deep, wide, or a circle |
//! | [`headers`] | ELF headers that no linker writes |
//!
//! [`tests::start`] starts processes in such surroundings, [`tests::tracer`] stops them at their system calls,
//! [`tests::world`] builds the programs, and [`tests::verdict`] says what may come of it.
#![forbid(unsafe_code)]
#![allow(clippy::arithmetic_side_effects, reason = "an overflow is a panic, and that a failed test")]

mod absent;
mod bare;
mod block;
mod bounds;
mod changed;
mod descriptors;
mod faults;
mod headers;
mod kinds;
mod limits;
mod many;
mod output;
mod persona;
mod races;
mod signals;
mod variables;

use std::process::ExitCode;

use anyhow::Result;
use tests::cases::{self, Entry, Need};

const CASES: &[Entry] = &[
    ("faults/full_start", Need::Nothing, faults::full_start),
    ("faults/direct_start", Need::Nothing, faults::direct_start),
    ("faults/handed_start", Need::Nothing, faults::handed_start),
    ("faults/first_native_call", Need::Nothing, faults::first_native_call),
    ("faults/first_native_call_installed", Need::Nothing, faults::first_native_call_installed),
    ("faults/first_native_call_musl", Need::Musl, faults::first_native_call_musl),
    ("faults/first_native_call_secure", Need::Root, faults::first_native_call_secure),
    ("faults/eager_libc", Need::Nothing, faults::eager_libc),
    ("faults/start_with_trace", Need::Nothing, faults::start_with_trace),
    ("faults/all_from_one_on", Need::Nothing, faults::all_from_one_on),
    ("faults/refusal", Need::Nothing, faults::refusal),
    ("faults/empty_reads", Need::Nothing, faults::empty_reads),
    ("faults/secure_start", Need::Root, faults::secure_start),
    ("descriptors/none_leaks", Need::Nothing, descriptors::none_leaks),
    ("descriptors/none_leaks_with_trace", Need::Nothing, descriptors::none_leaks_with_trace),
    ("descriptors/none_leaks_with_trace_file", Need::Nothing, descriptors::none_leaks_with_trace_file),
    ("descriptors/refusal", Need::Nothing, descriptors::refusal),
    ("descriptors/file_as_standard_error", Need::Nothing, descriptors::file_as_standard_error),
    ("limits/address_space", Need::Nothing, limits::address_space),
    ("limits/address_space_musl", Need::Musl, limits::address_space_musl),
    ("limits/data", Need::Nothing, limits::data),
    ("limits/descriptors", Need::Nothing, limits::descriptors),
    ("limits/locked_memory", Need::Nothing, limits::locked_memory),
    ("limits/lowered_stack", Need::Nothing, limits::lowered_stack),
    ("limits/stack", Need::Nothing, limits::stack),
    ("bare/programs", Need::Chroot, bare::programs),
    ("bare/direct", Need::Chroot, bare::direct),
    ("bare/missing_library", Need::Chroot, bare::missing_library),
    ("bare/no_libc", Need::Chroot, bare::no_libc),
    ("bare/libc_alone", Need::Chroot, bare::libc_alone),
    ("bare/noexec_library", Need::Chroot, bare::noexec_library),
    ("bare/noexec_program", Need::Chroot, bare::noexec_program),
    ("absent/first_call", Need::Chroot, absent::first_call),
    ("absent/asked_for", Need::Chroot, absent::asked_for),
    ("absent/any_libc", Need::Chroot, absent::any_libc),
    ("absent/musl_alone", Need::Chroot, absent::musl_alone),
    ("bounds/needed_names", Need::Anybody, bounds::needed_names),
    ("bounds/search_paths", Need::Anybody, bounds::search_paths),
    ("bounds/missing_directories", Need::Anybody, bounds::missing_directories),
    ("bounds/symbol_names", Need::Anybody, bounds::symbol_names),
    ("changed/directory", Need::Nothing, changed::directory),
    ("changed/directory_without_name", Need::Nothing, changed::directory_without_name),
    ("changed/directory_without_path", Need::Chroot, changed::directory_without_path),
    ("changed/opened", Need::Nothing, changed::opened),
    ("changed/trace", Need::Nothing, changed::trace),
    ("changed/strings", Need::Nothing, changed::strings),
    ("changed/root", Need::Chroot, changed::root),
    ("changed/root_asked", Need::Chroot, changed::root_asked),
    ("changed/privileges", Need::RootAlone, changed::privileges),
    ("changed/descriptors", Need::Nothing, changed::descriptors),
    ("changed/constructor", Need::Nothing, changed::constructor),
    ("changed/stack_limit", Need::Nothing, changed::stack_limit),
    ("changed/filters", Need::Nothing, changed::filters),
    ("block/without_needless_entries", Need::Nothing, block::without_needless_entries),
    ("block/without_needed_entries", Need::Nothing, block::without_needed_entries),
    ("block/without_needless_entries_musl", Need::Musl, block::without_needless_entries_musl),
    ("block/without_needed_entries_musl", Need::Musl, block::without_needed_entries_musl),
    ("block/secure_by_ids", Need::RootAlone, block::secure_by_ids),
    ("block/strings", Need::Nothing, block::strings),
    ("block/long_search_path", Need::Nothing, block::long_search_path),
    ("block/repeated_variable", Need::Nothing, block::repeated_variable),
    ("block/no_arguments", Need::Nothing, block::no_arguments),
    ("variables/table", Need::Nothing, variables::table),
    ("variables/secure", Need::Root, variables::secure),
    ("variables/not_installed", Need::Nothing, variables::not_installed),
    ("output/links", Need::Nothing, output::links),
    ("output/special_files", Need::Nothing, output::special_files),
    ("output/largest_size", Need::Nothing, output::largest_size),
    ("output/unknown_calls", Need::Nothing, output::unknown_calls),
    ("persona/each", Need::Nothing, persona::each),
    ("signals/kept", Need::Nothing, signals::kept),
    ("kinds/searched", Need::Nothing, kinds::searched),
    ("kinds/by_path", Need::Nothing, kinds::by_path),
    ("kinds/device_nodes", Need::Root, kinds::device_nodes),
    ("kinds/unreadable_library", Need::Ordinary, kinds::unreadable_library),
    ("kinds/unreadable_program", Need::Ordinary, kinds::unreadable_program),
    ("races/emptied", Need::Nothing, races::emptied),
    ("races/cut", Need::Nothing, races::cut),
    ("races/shortened", Need::Nothing, races::shortened),
    ("races/longer", Need::Nothing, races::longer),
    ("races/overwritten", Need::Nothing, races::overwritten),
    ("races/renamed", Need::Nothing, races::renamed),
    ("races/direct_program", Need::Nothing, races::direct_program),
    ("races/flickering", Need::Nothing, races::flickering),
    ("many/deep", Need::Anybody, many::deep),
    ("many/wide", Need::Anybody, many::wide),
    ("many/all_of_all", Need::Anybody, many::all_of_all),
    ("many/circles", Need::Anybody, many::circles),
    ("many/natives", Need::Anybody, many::natives),
    ("headers/library", Need::Nothing, headers::library),
    ("headers/program", Need::Nothing, headers::program),
    ("headers/direct_program", Need::Nothing, headers::direct_program),
    ("headers/handed_program", Need::Nothing, headers::handed_program),
    ("headers/deferred_program", Need::Nothing, headers::deferred_program),
    ("headers/loader_itself", Need::Nothing, headers::loader_itself),
];

fn main() -> Result<ExitCode> {
    cases::main("hostile", CASES)
}
