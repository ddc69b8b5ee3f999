//! What the kernel handed over: the block, and the addresses in it.
//!
//! # Safety
//! This file exists because the kernel hands over addresses as numbers. It is the only place where numbers
//! become pointers: the block, its strings, the program's headers. All of them live as long as the process.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::ptr::{self, NonNull};
use core::slice;

use rtld::addr::{LoadBias, RuntimeAddr, Vaddr, from_usize, to_usize};
use rtld::elf::{Decode, Ehdr, Phdr, consts, size};
use rtld::error::Problem;
use rtld::handoff::{Auxiliary, Layout};
use rtld::load::Present;
use rtld::mapped::MappedImage;
use rtld::plan::{LoadPlan, Origin};
use rtld::seam::Image;

use super::start;

/// The kernel's block. There is one, and one owner of it.
pub(crate) struct Block {
    words: &'static mut [u64],
    layout: Layout,
}

impl Block {
    /// The block at `sp`.
    ///
    /// # Safety
    /// `sp` is the stack pointer as the kernel left it, and nothing else refers to the block.
    pub(crate) unsafe fn at(sp: usize) -> Self {
        let start: *mut u64 = ptr::with_exposed_provenance_mut(sp);
        // SAFETY: the scan stays within the block, by its contract.
        let layout = Layout::scan(|index| unsafe { start.add(index).read() });
        // SAFETY: the block's words, just measured; by the caller nobody else has them.
        let words = unsafe { slice::from_raw_parts_mut(start, layout.end) };
        Self { words, layout }
    }

    /// Its words.
    pub(crate) fn words(&self) -> &[u64] {
        self.words
    }

    /// Where its parts are.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The auxiliary vector.
    pub(crate) fn auxiliary(&self) -> Auxiliary<'_> {
        self.layout.auxiliary(self.words)
    }

    /// The strings of the environment.
    pub(crate) fn environment(&self) -> impl Iterator<Item = &'static [u8]> {
        // SAFETY: strings of the block.
        self.layout.environment(self.words).iter().map(|&address| unsafe { string(address) })
    }

    /// Removes variables; see [`Layout::remove_variables`].
    pub(crate) fn remove_variables(&mut self, unwanted: impl Fn(&[u8]) -> bool) {
        // SAFETY: strings of the block.
        self.layout.remove_variables(self.words, |address| unwanted(unsafe { string(address) }));
        let words = core::mem::take(&mut self.words);
        self.words = words.get_mut(..self.layout.end).unwrap_or_default();
    }

    /// Address of its first word.
    pub(crate) fn address(&self) -> u64 {
        from_usize(self.words.as_ptr().addr())
    }

    /// A copy of it at `place`.
    ///
    /// # Safety
    /// `place` is a multiple of eight, with room for the block, unused.
    pub(crate) unsafe fn copy_to(&self, place: u64) {
        let place: *mut u64 = ptr::with_exposed_provenance_mut(to_usize(place));
        // SAFETY: by the caller.
        unsafe { place.copy_from_nonoverlapping(self.words.as_ptr(), self.words.len()) };
    }

    /// The path that the kernel was given, or `argv[0]`, or `?`.
    pub(crate) fn exec_path(&self) -> &'static [u8] {
        let path = self.auxiliary().exec_path();
        let first = self.words.get(1).copied().filter(|&address| address != 0 && self.layout.argc != 0);
        // SAFETY: strings of the block.
        path.or(first).map_or(b"?", |address| unsafe { string(address) })
    }

    /// AT_RANDOM's sixteen bytes, as two words.
    pub(crate) fn random(&self) -> Option<NonNull<[u64; 2]>> {
        NonNull::new(ptr::with_exposed_provenance_mut(to_usize(self.auxiliary().random()?)))
    }

    /// The program, as the kernel mapped it.
    pub(crate) fn program(&self) -> Result<Present<'static, MappedImage>, Problem<'static>> {
        let auxiliary = self.auxiliary();
        let none = Problem::ProgramHeaders { count: 0, entry_size: 0 };
        let (address, count) = auxiliary.program_headers().ok_or(none)?;
        // SAFETY: AT_PHDR and AT_PHNUM describe the table that the kernel mapped.
        let phdrs = unsafe { headers_at(address, count) };
        let plan = LoadPlan::new(decode(phdrs), Origin::Kernel, auxiliary.page_size())?;
        let bias = program_bias(phdrs, address, &plan);
        let start = pointer(bias.runtime(plan.span.start)).ok_or(none)?;
        // SAFETY: the kernel mapped the program by these headers; nobody else has touched it.
        let image = unsafe { MappedImage::adopt(start, plan, false) };
        Ok(Present { path: self.exec_path(), image, plan })
    }

    /// PT_INTERP of the program: the path of this loader, as far as the program's memory has it.
    pub(crate) fn interpreter<'i>(&self, program: &'i MappedImage) -> Option<&'i [u8]> {
        let phdr = self.program_headers().find(|phdr| phdr.p_type == consts::PT_INTERP)?;
        program.c_string(Vaddr(phdr.p_vaddr), phdr.p_filesz)
    }

    /// The program's headers, by value.
    pub(crate) fn program_headers(&self) -> impl Iterator<Item = Phdr> + Clone + use<> {
        let (address, count) = self.auxiliary().program_headers().unwrap_or_default();
        // SAFETY: AT_PHDR and AT_PHNUM describe the table that the kernel mapped.
        decode(unsafe { headers_at(address, count) })
    }
}

fn decode(table: &'static [u8]) -> impl Iterator<Item = Phdr> + Clone {
    table.chunks_exact(size::PHDR).map(Phdr::decode)
}

/// # Safety
/// There are `count` program headers at the address.
unsafe fn headers_at(address: RuntimeAddr, count: u64) -> &'static [u8] {
    let len = to_usize(count).saturating_mul(size::PHDR);
    match pointer(address) {
        // SAFETY: by the caller.
        Some(start) => unsafe { slice::from_raw_parts(start.as_ptr(), len) },
        None => &[],
    }
}

/// Where the program is: PT_PHDR says it. A program without one has its headers in the segment that holds
/// the start of the file, right after the ELF header, where every linker puts them.
fn program_bias(phdrs: &'static [u8], address: RuntimeAddr, plan: &LoadPlan) -> LoadBias {
    let phdr = decode(phdrs).find(|phdr| phdr.p_type == consts::PT_PHDR);
    let vaddr = match phdr {
        Some(phdr) => Vaddr(phdr.p_vaddr),
        None => {
            let first = plan.segments().iter().find(|segment| segment.offset.0 == 0);
            let start = first.map_or(plan.span.start, |segment| segment.pages.start);
            Vaddr(start.0.wrapping_add(size::EHDR as u64))
        }
    };
    LoadBias::new(address, vaddr)
}

fn pointer(address: RuntimeAddr) -> Option<NonNull<u8>> {
    NonNull::new(ptr::with_exposed_provenance_mut(to_usize(address.0)))
}

/// # Safety
/// The address is that of a string which nobody changes while it is used.
unsafe fn string(address: u64) -> &'static [u8] {
    // SAFETY: by the caller.
    unsafe { CStr::from_ptr(ptr::with_exposed_provenance(to_usize(address))) }.to_bytes()
}

/// The loader itself, as the kernel mapped it; `path` is what the program calls it.
pub(crate) fn own_image(path: &'static [u8]) -> Result<Present<'static, MappedImage>, Problem<'static>> {
    let header = start::own_header();
    let address = RuntimeAddr(from_usize(header.as_ptr().expose_provenance()));
    // SAFETY: the loader's ELF header, of the size that the format gives it.
    let bytes = unsafe { slice::from_raw_parts(header.as_ptr(), size::EHDR) };
    let ehdr = Ehdr::decode(bytes);
    // SAFETY: the linker put the loader's program headers there.
    let phdrs = unsafe { headers_at(RuntimeAddr(address.0.wrapping_add(ehdr.e_phoff)), ehdr.e_phnum.into()) };
    let plan = LoadPlan::new(decode(phdrs), Origin::Kernel, rtld::addr::PageSize::K4)?;
    // SAFETY: the kernel mapped the loader by these headers; it is only read through this image.
    let image = unsafe { MappedImage::adopt(header, plan, false) };
    Ok(Present { path, image, plan })
}
