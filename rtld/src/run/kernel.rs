//! The data that the kernel hands over: the block, and the addresses in it.
//!
//! # Safety
//! This file exists because the kernel hands over addresses as numbers. Only here do those numbers become pointers: to
//! the block, its strings, and the program's headers. All of these live as long as the process.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::ptr::{self, NonNull};
use core::slice;

use linux_raw_sys::general::{AT_EACCESS, AT_EMPTY_PATH};
use rtld::base::addr::{LoadBias, PageSize, RuntimeAddr, Vaddr, from_usize, to_usize};
use rtld::base::arena::{Arena, OutOfMemory};
use rtld::base::limits::PATH_MAX;
use rtld::elf::plan::{LoadPlan, Origin, PlanRoom};
use rtld::elf::{Decode, Ehdr, Phdr, consts, size};
use rtld::error::{Errno, Failure, Problem, Table};
use rtld::link::load::Present;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::{self, File};
use rtld::start::handoff::{Auxiliary, Layout};

use crate::run::cpu::{calls, number};

/// The kernel's block. It belongs to the loader: where libc may come, the program has a copy, and libc gets one.
pub(crate) struct Block {
    start: NonNull<u64>,
    layout: Layout,
}

impl Block {
    /// The block at `sp`.
    ///
    /// # Safety
    /// `sp` is the stack pointer that the kernel set, and nothing else refers to the block.
    pub(crate) unsafe fn at(sp: usize) -> Self {
        let start: *mut u64 = ptr::with_exposed_provenance_mut(sp);
        // SAFETY: the scan stays within the block, by its contract.
        let layout = Layout::scan(|index| unsafe { start.add(index).read() });
        // SAFETY: a stack pointer is not null.
        Self { start: unsafe { NonNull::new_unchecked(start) }, layout }
    }

    /// The words of the block.
    ///
    /// Only [`Block::edit`] writes to them, which borrows the block mutably.
    pub(crate) fn words(&self) -> &[u64] {
        // SAFETY: the block's words, which nothing writes to while they are borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.layout.end) }
    }

    /// The words and the layout, to edit while the block is the loader's.
    fn edit(&mut self) -> (&mut [u64], &mut Layout) {
        // SAFETY: the block's words, borrowed mutably as `self` is.
        (unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.end) }, &mut self.layout)
    }

    /// The places of the block's parts.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The auxiliary vector.
    pub(crate) fn auxiliary(&self) -> Auxiliary<'_> {
        self.layout.auxiliary(self.words())
    }

    /// The words of the auxiliary vector.
    pub(crate) fn auxv(&self) -> &[u64] {
        self.words().get(self.layout.auxv..self.layout.end).unwrap_or_default()
    }

    /// A copy of the auxiliary vector, which later edits of the block leave as it is.
    pub(crate) fn copy_auxv(&self, arena: &'static Arena) -> Result<&'static [u64], OutOfMemory> {
        arena.copy(self.auxv())
    }

    /// The strings of the environment.
    pub(crate) fn environment(&self) -> impl Iterator<Item = &'static [u8]> + Clone {
        // SAFETY: strings of the block.
        self.layout.environment(self.words()).iter().map(|&address| unsafe { string(address) })
    }

    /// Removes variables; see [`Layout::remove_variables`].
    pub(crate) fn remove_variables(&mut self, unwanted: impl Fn(&[u8]) -> bool) {
        let (words, layout) = self.edit();
        layout.remove_variables(words, |address| is_variable(address, &unwanted));
    }

    /// The strings of argv.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &'static [u8]> {
        let argv = self.words().get(1..self.layout.argc.wrapping_add(1)).unwrap_or_default();
        // SAFETY: strings of the block.
        argv.iter().map(|&address| unsafe { string(address) })
    }

    /// Address of the string `argv[index]`.
    pub(crate) fn argument_address(&self, index: usize) -> u64 {
        self.words().get(index.wrapping_add(1)).copied().unwrap_or(0)
    }

    /// Removes arguments; see [`Layout::drop_arguments`].
    pub(crate) fn drop_arguments(&mut self, count: usize, first: u64) {
        let (words, layout) = self.edit();
        layout.drop_arguments(words, count, first);
    }

    /// Removes an entry of the auxiliary vector.
    pub(crate) fn remove_entry(&mut self, key: u32) {
        let (words, layout) = self.edit();
        layout.remove_entry(words, key);
    }

    /// Replaces values of the auxiliary vector.
    pub(crate) fn patch(&mut self, values: &[(u32, u64)]) {
        let (words, layout) = self.edit();
        layout.patch(words, values);
    }

    /// Makes up for an entry of the auxiliary vector that is absent; see [`Layout::supply`].
    pub(crate) fn supply(&mut self, key: u32, value: u64) {
        let (words, layout) = self.edit();
        layout.supply(words, key, value);
    }

    /// Address of the block's first word.
    pub(crate) fn address(&self) -> u64 {
        from_usize(self.start.as_ptr().addr())
    }

    /// The path that the kernel was given (AT_EXECFN), or else `argv[0]`, or else `?`.
    pub(crate) fn exec_path(&self) -> &'static [u8] {
        let path = self.auxiliary().exec_path();
        let first = self.words().get(1).copied().filter(|&address| address != 0 && self.layout.argc != 0);
        // SAFETY: strings of the block.
        path.or(first).map_or(b"?", |address| unsafe { string(address) })
    }

    /// Address of AT_RANDOM's sixteen bytes, as two words.
    pub(crate) fn random(&self) -> Option<NonNull<[u64; 2]>> {
        NonNull::new(ptr::with_exposed_provenance_mut(to_usize(self.auxiliary().random()?)))
    }

    /// The program, as the kernel mapped it.
    pub(crate) fn program(
        &self,
        arena: &'static Arena,
    ) -> Result<Present<'static, MappedImage>, Failure<'static>> {
        let auxiliary = self.auxiliary();
        let none = Problem::ProgramHeaders { count: 0, entry_size: 0 };
        let (address, count) = auxiliary.program_headers().ok_or(none)?;
        if !can_read(address, to_usize(count).saturating_mul(size::PHDR), auxiliary.page_size()) {
            return Err(Problem::OutsideImage { table: Table::ProgramHeaders, vaddr: Vaddr(address.0) }.into());
        }
        // SAFETY: AT_PHDR and AT_PHNUM describe a table that can be read.
        let phdrs = unsafe { headers_at(address, count) };
        let mut room = PlanRoom::new();
        let plan = LoadPlan::new(decode(phdrs), Origin::Kernel, auxiliary.page_size(), &mut room)?.keep(arena)?;
        let bias = program_bias(phdrs, address, auxiliary.entry().ok_or(Problem::LoadBias)?, &plan)?;
        let start = pointer(bias.runtime(plan.span.start)).ok_or(none)?;
        // SAFETY: the kernel mapped the program by these headers, and nothing has changed that.
        let image = unsafe { MappedImage::adopt(start, plan, false) };
        let phdrs = u16::try_from(count).ok().map(|count| (bias.vaddr(address), count));
        Ok(Present { path: self.exec_path(), image, phdrs })
    }

    /// The program's PT_INTERP, which is the path of this loader, if the program's memory contains it.
    pub(crate) fn interpreter<'i>(&self, program: &'i MappedImage) -> Option<&'i [u8]> {
        let phdr = self.program_headers().find(|phdr| phdr.p_type == consts::PT_INTERP)?;
        program.c_string(Vaddr(phdr.p_vaddr), phdr.p_filesz)
    }

    /// The program's headers, decoded.
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

/// The program's load bias. Linkers put the ELF header into the page of the program headers; if the one there names
/// these headers, its `e_entry` and the kernel's AT_ENTRY give the bias. Otherwise (patchelf moves the table to the end
/// of the file) PT_PHDR gives it, if PT_PHDR agrees with the segment that contains the table.
fn program_bias(
    phdrs: &'static [u8],
    address: RuntimeAddr,
    entry: RuntimeAddr,
    plan: &LoadPlan<'_>,
) -> Result<LoadBias, Failure<'static>> {
    let page = plan.page();
    let start = RuntimeAddr(page.floor(address.0));
    if let Some(header) = pointer(start).filter(|_| page.offset_in(address.0) >= size::EHDR as u64) {
        // SAFETY: the headers begin in this page, which the kernel mapped, after this many bytes of it.
        let bytes = unsafe { slice::from_raw_parts(header.as_ptr(), size::EHDR) };
        let ehdr = Ehdr::decode(bytes);
        if bytes.starts_with(b"\x7fELF") && ehdr.e_phoff == page.offset_in(address.0) {
            return Ok(LoadBias::new(entry, Vaddr(ehdr.e_entry)));
        }
    }
    let phdr = decode(phdrs).find(|phdr| phdr.p_type == consts::PT_PHDR).ok_or(Problem::LoadBias)?;
    let vaddr = Vaddr(phdr.p_vaddr);
    let segment = plan.segment_of(vaddr, from_usize(phdrs.len())).ok_or(Problem::LoadBias)?;
    let into = vaddr.0.wrapping_sub(segment.pages().start.0);
    let bias = LoadBias::new(address, vaddr);
    if segment.offset.0.wrapping_add(into) != phdr.p_offset || page.offset_in(bias.0) != 0 {
        return Err(Problem::LoadBias.into());
    }
    Ok(bias)
}

/// Whether `wanted` returns true for the string at `address`, one of the block's environment.
pub(crate) fn is_variable(address: u64, wanted: impl Fn(&[u8]) -> bool) -> bool {
    // SAFETY: a string of the block.
    wanted(unsafe { string(address) })
}

fn pointer(address: RuntimeAddr) -> Option<NonNull<u8>> {
    NonNull::new(ptr::with_exposed_provenance_mut(to_usize(address.0)))
}

/// The string at an address of the auxiliary vector; empty if the address is 0.
pub(crate) fn text(address: u64) -> &'static [u8] {
    // SAFETY: such an address is that of one of the kernel's strings.
    if address == 0 { b"" } else { unsafe { string(address) } }
}

/// # Safety
/// At the address is a string, which nothing changes while it is borrowed.
pub(crate) unsafe fn string(address: u64) -> &'static [u8] {
    // SAFETY: by the caller.
    unsafe { CStr::from_ptr(ptr::with_exposed_provenance(to_usize(address))) }.to_bytes()
}

/// The path of the current directory; `None` if the kernel does not tell an absolute one.
///
/// # Errors
/// The arena has no memory left.
pub(crate) fn current_directory(arena: &'static Arena) -> Result<Option<&'static [u8]>, OutOfMemory> {
    let mut buffer = [0u8; PATH_MAX];
    let place = buffer.as_mut_ptr().expose_provenance();
    // SAFETY: a buffer of that size.
    let size = unsafe { calls::system_call(number::GETCWD, [place, PATH_MAX, 0, 0]) };
    let path = usize::try_from(size).ok().and_then(|size| buffer.get(..size)?.strip_suffix(b"\0"));
    path.filter(|path| path.starts_with(b"/")).map(|path| arena.copy(path)).transpose()
}

/// Checks that the process, with its effective ids, may execute an open file. The kernel answers since Linux 5.8
/// (faccessat2(2)); older ones do not know the call, nor do the filters of older sandboxes, which answer EPERM.
pub(crate) fn may_execute(file: &File) -> Result<(), Errno> {
    const X_OK: usize = 1;
    const FLAGS: u32 = AT_EACCESS | AT_EMPTY_PATH;
    let arguments = [to_usize(file.number().into()), c"".as_ptr().expose_provenance(), X_OK, FLAGS as usize];
    // SAFETY: the path is an empty string in the loader.
    let result = unsafe { calls::system_call(number::FACCESSAT2, arguments) };
    match Errno(i32::try_from(result.wrapping_neg()).unwrap_or(0)) {
        Errno(0) => Ok(()),
        Errno::EPERM | Errno::ENOSYS => sys::may_execute_by_link(file),
        errno => Err(errno),
    }
}

/// Whether the kernel can read the pages of `len` bytes from an address on, for which it may grow the stack. If no segment
/// contains a program's headers, AT_PHDR is the address of something else, or of nothing.
pub(crate) fn can_read(address: RuntimeAddr, len: usize, page: PageSize) -> bool {
    const NO_SUCH_OPERATION: usize = 3;
    const MASK_SIZE: usize = 8;
    const EINVAL: isize = -22;
    let Some(end) = address.0.checked_add(from_usize(len)) else { return false };
    let mut at = address.0;
    while at < end {
        // SAFETY: the kernel reads a mask at the address, or answers EFAULT. The operation does not exist, so then it
        // answers EINVAL and changes nothing.
        let result =
            unsafe { calls::system_call(number::RT_SIGPROCMASK, [NO_SUCH_OPERATION, to_usize(at), 0, MASK_SIZE]) };
        if result != EINVAL {
            return false;
        }
        at = page.floor(at).saturating_add(page.bytes());
    }
    true
}

/// Sixteen random bytes: those of AT_RANDOM, or else of getrandom(2).
pub(crate) fn random(block: &Block) -> Option<[u64; 2]> {
    if let Some(random) = block.random() {
        // SAFETY: AT_RANDOM's sixteen bytes.
        return Some(unsafe { random.as_ptr().read_unaligned() });
    }
    let mut random = [0u64; 2];
    let place = (&raw mut random).expose_provenance();
    // SAFETY: sixteen bytes of our own.
    let got = unsafe { calls::system_call(number::GETRANDOM, [place, 16, 0, 0]) };
    (got == 16).then_some(random)
}

unsafe extern "C" {
    safe static __ehdr_start: u8;
}

/// Address of the ELF header of this program itself.
pub(crate) fn own_header() -> NonNull<u8> {
    NonNull::from(&__ehdr_start)
}

/// The loader itself, as the kernel mapped it; `path` is the one that messages show.
///
/// # Errors
/// Its program headers do not fit pages of that size.
#[inline(never)]
pub(crate) fn own_image(
    arena: &'static Arena,
    path: &'static [u8],
    page: PageSize,
) -> Result<Present<'static, MappedImage>, Failure<'static>> {
    let header = own_header();
    let address = RuntimeAddr::of(header.as_ptr());
    // SAFETY: the loader's ELF header, of the size that the format gives it.
    let bytes = unsafe { slice::from_raw_parts(header.as_ptr(), size::EHDR) };
    let ehdr = Ehdr::decode(bytes);
    // SAFETY: the linker put the loader's program headers there.
    let phdrs = unsafe { headers_at(RuntimeAddr(address.0.wrapping_add(ehdr.e_phoff)), ehdr.e_phnum.into()) };
    let mut room = PlanRoom::new();
    let plan = LoadPlan::new(decode(phdrs), Origin::Kernel, page, &mut room)?.keep(arena)?;
    // SAFETY: the kernel mapped the loader by these headers; it is only read through this image.
    let image = unsafe { MappedImage::adopt(header, plan, false) };
    let phdrs = Some((Vaddr(plan.span.start.0.wrapping_add(ehdr.e_phoff)), ehdr.e_phnum));
    Ok(Present { path, image, phdrs })
}
