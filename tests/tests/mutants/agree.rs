//! The mapper over byte vectors and the kernel's do the same with every file.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::{Failed, Trial};
use rtld::base::addr::{FileOffset, LoadBias, PageRange};
use rtld::elf::plan::{LoadPlan, Protection, Segment};
use rtld::error::{Errno, Error, OpenError};
use rtld::link::namespace::Module;
use rtld::link::sealed::Sealed;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::{AddressSpace, FileInfo, Files, Image};
use rtld::os::sys::Linux;
use tests::memory::file::{DATA, phdr};
use tests::memory::mutation::{Xorshift, mutate, mutate_within};
use tests::memory::os::{MEMORY, ROOM};
use tests::memory::property::is_said;
use tests::memory::scene::{Start, arena};
use tests::memory::{Elf, MemImage, MemOs, sample};
use tests::workdir::Workdir;

use crate::children::{child as run_child, write};

/// Mutants of each sample, and mutants of one child: its mappings stay until it ends.
const MUTANTS: (u64, u64) = (1500, 150);

/// A test for each part of the mutants of each sample.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    let (all, part) = MUTANTS;
    for (name, _) in sample::all() {
        for number in 0..all / part {
            let seed = 0x5eed_1000 + number;
            let trial = Trial::test(format!("agree/{name}/{number}"), move || parent(name, seed, part));
            trials.push(trial);
        }
    }
    trials.push(Trial::test("agree/differences_are_seen", differences_are_seen));
    trials
}

/// The comparison fails if bytes, plan or refusal differ on one of the two.
fn differences_are_seen() -> Result<(), Failed> {
    let directory = Workdir::new()?;
    let machines = Machines::new(directory.path().to_str().ok_or("a path that is not UTF-8")?)?;
    let place = machines.place("liby")?;
    let sound = sample::liby();
    let differs = |other: &Elf| {
        let (real, biases) = machines.real(true);
        let in_memory = machines.in_memory((place, &other.bytes), biases);
        same(&real, &in_memory).is_err()
    };
    if differs(&sound) {
        return Err("the same files".into());
    }
    let others = [
        ("a byte", sound.clone().with_word(DATA, 1)),
        ("a protection", sound.clone().with_phdr(1, phdr::FLAGS, 1)),
        ("a size", sound.clone().with_phdr(3, phdr::MEMSZ, 0x80)),
        ("an alignment", sound.clone().with_phdr(3, phdr::ALIGN, 0x2000)),
        ("an error", sound.clone().with(0, b"x")),
    ];
    match others.iter().find(|(_, other)| !differs(other)) {
        Some((name, _)) => Err(format!("{name} in one of the two is not seen").into()),
        None => Ok(()),
    }
}

fn parent(name: &str, seed: u64, count: u64) -> Result<(), Failed> {
    let directory = Workdir::new()?;
    let directory = directory.path().to_str().ok_or("a path that is not UTF-8")?;
    run_child(&["child:agree", directory, name, &seed.to_string(), &count.to_string()])?;
    Ok(())
}

/// Linux, with the other mapper's limit of memory, and a record of the load biases.
struct Real {
    biases: RefCell<Vec<LoadBias>>,
    /// Whether the other mapper's limit of memory holds.
    limited: bool,
}

impl Files for Real {
    type File = <Linux as Files>::File;

    fn open(&self, path: &[u8]) -> Result<(Self::File, FileInfo), OpenError> {
        Linux.open(path)
    }

    fn read_at<'b>(
        &self,
        file: &Self::File,
        offset: FileOffset,
        buffer: &'b mut [MaybeUninit<u8>],
    ) -> Result<&'b mut [u8], Errno> {
        Linux.read_at(file, offset, buffer)
    }
}

impl AddressSpace for Real {
    type Image = MappedImage;

    fn reserve(&self, plan: &LoadPlan<'static>, file: &Self::File) -> Result<MappedImage, Errno> {
        if self.limited && (plan.span.len() > MEMORY || plan.align > ROOM) {
            return Err(Errno::ENOMEM);
        }
        let image = Linux.reserve(plan, file)?;
        self.biases.borrow_mut().push(image.bias());
        Ok(image)
    }

    fn map_segment(&self, image: &mut MappedImage, file: &Self::File, segment: &Segment) -> Result<(), Errno> {
        Linux.map_segment(image, file, segment)
    }

    fn unmap(&self, image: &mut MappedImage) {
        Linux.unmap(image);
    }

    fn protect(&self, image: &MappedImage, range: PageRange, protection: Protection) -> Result<(), Errno> {
        Linux.protect(image, range, protection)
    }
}

/// The files of a start, on both machines.
struct Machines {
    start: Start,
    files: Vec<(&'static str, Vec<u8>)>,
}

type Outcome<I> = Result<Sealed<'static, I>, Error<'static>>;

impl Machines {
    fn new(directory: &str) -> Result<Self> {
        // The loader keeps references to names until the process ends.
        let keep = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let path = |name: &str| keep(format!("{directory}/{name}"));
        let (program, loader) = (path("program"), path(tests::stage::LOADER));
        let directory = Some(keep(directory.to_owned()));
        let start = Start { program, loader, library_path: directory, program_path: Some(program), secure: false };
        let files = vec![
            (program, sample::program().bytes),
            (loader, sample::loader().bytes),
            (path("libx.so"), sample::library(tests::memory::Hash::Gnu).bytes),
            (path("liby.so"), sample::liby().bytes),
        ];
        for (path, bytes) in &files {
            write(Path::new(path), bytes)?;
        }
        Ok(Self { start, files })
    }

    /// Path of the file that a sample replaces.
    fn place(&self, name: &str) -> Result<&'static str> {
        let file = match name {
            "program" => "/program",
            "liby" => "/liby.so",
            _ => "/libx.so",
        };
        let found = self.files.iter().find(|(path, _)| path.ends_with(file));
        found.map(|(path, _)| *path).context("no such file")
    }

    fn real(&self, limited: bool) -> (Outcome<MappedImage>, Vec<LoadBias>) {
        let real = Real { biases: RefCell::default(), limited };
        let outcome = self.start.seal(&real, arena());
        (outcome, real.biases.into_inner())
    }

    fn in_memory(&self, broken: (&str, &[u8]), biases: Vec<LoadBias>) -> Outcome<MemImage> {
        let mut os = MemOs::default();
        os.biases = biases;
        for (path, bytes) in &self.files {
            os.file(path, if *path == broken.0 { broken.1 } else { bytes });
        }
        self.start.seal(&os, arena())
    }
}

/// Runs mutants of a sample on both machines.
pub(crate) fn child(directory: &str, name: &str, seed: u64, count: u64) -> Result<()> {
    let machines = Machines::new(directory)?;
    let (_, sound) = sample::all().into_iter().find(|(found, _)| *found == name).context("no such sample")?;
    let place = machines.place(name)?;
    let mut random = Xorshift::new(seed);
    let mut loaded = 0;
    for number in 0..count {
        let mut bytes = sound.bytes.clone();
        // The first is sound.
        for _ in 0..number.min(1 + number % 3) {
            match number % 2 {
                0 => mutate(&mut bytes, &mut random),
                _ => mutate_within(&mut bytes, &[(0, sound.bytes.len())], &mut random),
            }
        }
        // The last line names the mutant that killed this process.
        println!("{name}, seed {seed:#x}, mutant {number}");
        write(Path::new(place), &bytes)?;
        let (real, biases) = machines.real(true);
        let in_memory = machines.in_memory((place, &bytes), biases);
        loaded += u64::from(real.is_ok());
        same(&real, &in_memory).with_context(|| format!("{name}, seed {seed:#x}, mutant {number}"))?;
        if !matches!(&real, Err(error) if error.to_string().ends_with("ENOMEM")) {
            continue;
        }
        // Too large for the mapper in memory, so there is no comparison. The real one must not crash, and its refusal
        // must be one line.
        if let Err(error) = machines.real(false).0 {
            is_said(&error);
        }
    }
    println!("{loaded} of {count} loaded");
    assert!((count / 20..count * 19 / 20).contains(&loaded), "that tests little");
    Ok(())
}

/// Checks that both have the same outcome.
fn same(real: &Outcome<MappedImage>, in_memory: &Outcome<MemImage>) -> Result<()> {
    let (real, in_memory) = match (real, in_memory) {
        (Ok(real), Ok(in_memory)) => (real, in_memory),
        (Err(real), Err(in_memory)) => {
            is_said(real);
            ensure!(real.to_string() == in_memory.to_string(), "really: {real}, in memory: {in_memory}");
            return Ok(());
        }
        (Ok(_), Err(error)) => bail!("only the mapper in memory refuses: {error}"),
        (Err(error), Ok(_)) => bail!("only the real mapper refuses: {error}"),
    };
    ensure!(real.init_order == in_memory.init_order, "the order of initialisation differs");
    ensure!(real.tls == in_memory.tls, "{:?}, in memory {:?}", real.tls, in_memory.tls);
    ensure!(real.indirect[..] == in_memory.indirect[..], "the words that wait for a resolver differ");
    ensure!(real.natives.libraries[..] == in_memory.natives.libraries[..], "the native libraries differ");
    let modules = (real.namespace.all(), in_memory.namespace.all());
    let counts = (real.namespace.all().count(), in_memory.namespace.all().count());
    ensure!(counts.0 == counts.1, "{} modules, in memory {}", counts.0, counts.1);
    let mappings = mappings();
    for ((_, real), (_, in_memory)) in modules.0.zip(modules.1) {
        same_module(real, in_memory, &mappings).with_context(|| real.path.escape_ascii().to_string())?;
    }
    Ok(())
}

/// Checks that both have the same plan, tables, bytes and pages.
fn same_module(
    real: &Module<'_, MappedImage>,
    in_memory: &Module<'_, MemImage>,
    mappings: &[Mapping],
) -> Result<()> {
    const PAGE: usize = 4096;
    ensure!((real.path, real.soname) == (in_memory.path, in_memory.soname), "another name");
    ensure!(
        real.image.plan() == in_memory.image.plan(),
        "{:x?}, in memory {:x?}",
        real.image.plan(),
        in_memory.image.plan()
    );
    ensure!(real.dynamic == in_memory.dynamic, "{:x?}, in memory {:x?}", real.dynamic, in_memory.dynamic);
    let bias = real.image.bias();
    ensure!(bias == in_memory.image.bias(), "{bias:?}, in memory {:?}", in_memory.image.bias());
    for segment in real.image.plan().segments().iter().filter(|segment| segment.protection.read) {
        let len = segment.mem_end.0 - segment.mem_start.0;
        let bytes = real.image.bytes(segment.mem_start, len);
        let same = bytes.is_some() && bytes == in_memory.image.bytes(segment.mem_start, len);
        ensure!(same, "other bytes in {segment:x?}");
    }
    for vaddr in (real.image.plan().span.start.0..real.image.plan().span.end.0).step_by(PAGE) {
        let at = bias.0.wrapping_add(vaddr);
        let next = mappings.partition_point(|(_, end, _)| *end <= at);
        let mapped = mappings.get(next).filter(|(start, ..)| *start <= at).map(|(.., protection)| *protection);
        let planned = in_memory.image.protection(vaddr);
        ensure!(mapped.is_some() && mapped == planned, "page {vaddr:#x}: {mapped:?}, in memory {planned:?}");
    }
    Ok(())
}

/// First address, end and protection.
type Mapping = (u64, u64, Protection);

/// The mappings of this process by /proc/self/maps, ascending.
fn mappings() -> Vec<Mapping> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(range).collect()
}

/// A line of `/proc/self/maps`.
fn range(line: &str) -> Option<Mapping> {
    let (addresses, rest) = line.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let has = |flag: char| rest.get(..4).is_some_and(|flags| flags.contains(flag));
    Some((number(start)?, number(end)?, Protection { read: has('r'), write: has('w'), execute: has('x') }))
}
