//! Files, and what the kernel tells of the process.
//!
//! # Safety
//! This file exists because a descriptor can be closed while other code still uses it. A [`File`] is the sole owner of
//! its descriptor.
#![allow(unsafe_code)]

use core::ffi::CStr;
use core::mem::{ManuallyDrop, MaybeUninit};

use abi::line;
pub use rustix::fd::BorrowedFd;
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, FileType, MemfdFlags, Mode, OFlags, RawDir, StatVfsMountFlags};
use rustix::fs::{accessat, fstat, fstatvfs, memfd_create, open, readlinkat_raw, stat};
use rustix::io::{pread, try_close};

use crate::base::addr::{FileOffset, from_usize};
use crate::base::limits::PATH_MAX;
use crate::base::text::{DIGITS, decimal};
use crate::error::{Errno, OpenError};
use crate::os::seam::{FileInfo, Files};

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

/// The running system.
#[derive(Clone, Copy, Debug)]
pub struct Linux;

/// An open file, closed when dropped. An error of close(2), such as EIO of a network file system, is ignored; rustix's
/// own `OwnedFd` panics on it when compiled with assertions.
#[derive(Debug)]
pub struct File {
    descriptor: ManuallyDrop<OwnedFd>,
    /// Offset in the file at which the ELF image begins; see [`skip_line`].
    start: FileOffset,
}

impl File {
    pub(super) const fn new(descriptor: OwnedFd) -> Self {
        Self { descriptor: ManuallyDrop::new(descriptor), start: FileOffset(0) }
    }

    /// Converts an offset in the ELF image to an offset in the file.
    pub(super) const fn whole(&self, offset: FileOffset) -> u64 {
        self.start.0.saturating_add(offset.0)
    }

    /// Number of the descriptor.
    #[must_use]
    pub fn number(&self) -> u32 {
        // The number of an open descriptor is never negative.
        u32::try_from(self.as_fd().as_raw_fd()).unwrap_or(u32::MAX)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: this file's own descriptor, which nothing uses after this.
        let _ = unsafe { try_close(self.descriptor.as_raw_fd()) };
    }
}

fn with_path<T>(path: &[u8], then: impl Fn(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
    // Most paths are short, and clearing a page for each is measurable.
    const SHORT: usize = 256;
    let mut result = Err(Errno::ENOENT);
    let mut then = |path: &CStr| result = then(path);
    if path.len() < SHORT {
        with_path_in::<SHORT>(path, &mut then)?;
    } else {
        with_path_in::<PATH_MAX>(path, &mut then)?;
    }
    result
}

#[inline(never)]
fn with_path_in<const ROOM: usize>(path: &[u8], then: &mut dyn FnMut(&CStr)) -> Result<(), Errno> {
    let mut buffer = [0u8; ROOM];
    let room = buffer.get_mut(..path.len()).filter(|_| path.len() < ROOM);
    room.ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(path);
    let terminated = buffer.get(..=path.len()).unwrap_or_default();
    // No NUL but the last.
    let path = CStr::from_bytes_until_nul(terminated)
        .ok()
        .filter(|path| path.count_bytes().wrapping_add(1) == terminated.len());
    then(path.ok_or(Errno::ENOENT)?);
    Ok(())
}

impl Files for Linux {
    type File = File;

    fn open(&self, path: &[u8]) -> Result<(File, FileInfo), OpenError> {
        // O_NONBLOCK: a FIFO of that name must not hang the start.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = with_path(path, |path| Ok(File::new(open(path, flags, Mode::empty())?)));
        let file = opened.map_err(|errno| match errno {
            // The path of a socket, or of a device without a driver.
            Errno::ENXIO => OpenError::NotRegular,
            errno => OpenError::Errno(errno),
        })?;
        regular(file)
    }

    fn read_at<'b>(
        &self,
        file: &File,
        offset: FileOffset,
        buffer: &'b mut [MaybeUninit<u8>],
    ) -> Result<&'b mut [u8], Errno> {
        let mut done = 0usize;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match pread(file, rest, file.whole(offset).saturating_add(from_usize(done))) {
                Ok(([], _)) => break,
                Ok((read, _)) => done = done.saturating_add(read.len()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let read = buffer.get_mut(..done).unwrap_or_default();
        // SAFETY: the kernel has written `done` bytes, call by call.
        Ok(unsafe { read.assume_init_mut() })
    }
}

fn regular(file: File) -> Result<(File, FileInfo), OpenError> {
    let stat = fstat(&file).map_err(|errno| OpenError::Stat(errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(OpenError::NotRegular);
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Ok((file, FileInfo { dev: stat.st_dev, ino: stat.st_ino, size }))
}

/// The regular file behind a descriptor that was passed to the loader. The returned [`File`] owns the descriptor.
///
/// # Errors
/// EBADF if the number is not that of a descriptor, the error number of fstat(2), or the file is not a regular one.
pub fn handed_over(descriptor: u32) -> Result<(File, FileInfo), OpenError> {
    let number = i32::try_from(descriptor).map_err(|_| OpenError::Errno(Errno(9)))?;
    // SAFETY: the descriptor was opened for the code that maps the file, and nothing else uses it.
    regular(File::new(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Whether the ids of the process (real and effective, of user and group) come from the file's own set-id bits, on a
/// file system where those have an effect.
#[must_use]
pub fn explains_ids(file: &File, user: (u64, u64), group: (u64, u64)) -> bool {
    let (Ok(stat), Ok(system)) = (fstat(file), fstatvfs(file)) else { return false };
    let works = !system.f_flag.contains(StatVfsMountFlags::NOSUID);
    let explained = |(real, effective): (u64, u64), bit: Mode, owner: u32| {
        let set = Mode::from_raw_mode(stat.st_mode).contains(bit);
        real == effective || works && set && effective == u64::from(owner)
    };
    explained(user, Mode::SUID, stat.st_uid) && explained(group, Mode::SGID, stat.st_gid)
}

/// If the file begins with `#!`, makes offset 0 mean the ELF image behind the line ([`line`](mod@line)).
pub fn skip_line(file: &mut File, info: &mut FileInfo) {
    let mut start = [MaybeUninit::uninit(); 2];
    if Linux.read_at(file, FileOffset(0), &mut start).is_ok_and(|start| *start == line::BEGINS) {
        file.start = FileOffset(line::IMAGE);
        info.size = info.size.saturating_sub(line::IMAGE);
    }
}

/// Sets the name of the calling thread, which is the name of the process in ps(1), to the last component of `path`.
pub fn set_name(path: &[u8]) {
    const LENGTH: usize = 15;
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let mut text = [0u8; LENGTH + 1];
    for (place, &byte) in text.iter_mut().zip(name).take(LENGTH) {
        *place = byte;
    }
    // Nothing depends on it.
    let _ = CStr::from_bytes_until_nul(&text).is_ok_and(|name| rustix::thread::set_name(name).is_ok());
}

/// A file in memory with the contents `bytes`; lists of mappings show `name` for it.
///
/// # Errors
/// The error number of memfd_create(2) or write(2).
pub fn memory_file(name: &CStr, bytes: &[u8]) -> Result<File, Errno> {
    let file = File::new(memfd_create(name, MemfdFlags::CLOEXEC)?);
    write_all(&file, bytes)?;
    Ok(file)
}

/// Checks that the process may execute an open file, for kernels that can not be asked about descriptors (before Linux
/// 5.8). By its link in /proc, with the real ids, which are the effective ones unless AT_SECURE is set; without /proc by
/// its mode, and that of its file system.
///
/// # Errors
/// EACCES; another error number of faccessat(2), unless it is for want of /proc.
pub fn may_execute_by_link(file: &File) -> Result<(), Errno> {
    const EACCES: Errno = Errno(13);
    let link = descriptor_link(file);
    let asked = CStr::from_bytes_until_nul(&link).map_err(|_| Errno::ENOENT)?;
    match accessat(CWD, asked, Access::EXEC_OK, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::NOSYS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let (mode, system) = (Mode::from_raw_mode(fstat(file)?.st_mode), fstatvfs(file)?);
    let anybody = Mode::XUSR | Mode::XGRP | Mode::XOTH;
    let forbidden = system.f_flag.contains(StatVfsMountFlags::NOEXEC) || !mode.intersects(anybody);
    if forbidden { Err(EACCES) } else { Ok(()) }
}

/// The absolute path of an open file, from /proc; `None` if /proc does not tell.
pub fn file_path<'b>(file: &File, buffer: &'b mut [u8; PATH_MAX]) -> Option<&'b [u8]> {
    link_target(CStr::from_bytes_until_nul(&descriptor_link(file)).ok()?, buffer)
}

/// Path of the link in /proc to an open file, and NULs.
fn descriptor_link(file: &File) -> [u8; 25] {
    let mut path = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    let mut digits = [0u8; DIGITS];
    for (place, &digit) in path.iter_mut().skip(14).zip(decimal(file.number(), &mut digits)) {
        *place = digit;
    }
    path
}

/// The target of a link in /proc; `None` if it is not an absolute path or does not fit the buffer.
fn link_target<'b>(link: &CStr, buffer: &'b mut [u8; PATH_MAX]) -> Option<&'b [u8]> {
    let size = readlinkat_raw(CWD, link, buffer.as_mut_slice()).ok()?;
    buffer.get(..size).filter(|path| path.starts_with(b"/") && size < PATH_MAX)
}

/// Standard output.
#[must_use]
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: no value owns descriptor 1; see `stderr`.
    unsafe { BorrowedFd::borrow_raw(1) }
}

/// Identity and size of the file at `path`; `None` if stat(2) fails.
#[must_use]
#[inline(never)]
pub fn file_info(path: &[u8]) -> Option<FileInfo> {
    let stat = with_path(path, |path| Ok(stat(path)?)).ok()?;
    Some(FileInfo { dev: stat.st_dev, ino: stat.st_ino, size: u64::try_from(stat.st_size).ok()? })
}

/// Size in bytes of the file at `path`; `None` if stat(2) fails.
#[must_use]
pub fn file_size(path: &[u8]) -> Option<u64> {
    file_info(path).map(|info| info.size)
}

/// Size in bytes of the running program's file; `None` if /proc does not tell.
#[must_use]
pub fn program_size() -> Option<u64> {
    file_size(b"/proc/self/exe")
}

/// The absolute path of the running program, from /proc; `None` if /proc is not mounted or the path does not fit the
/// buffer.
pub fn program_path(buffer: &mut [u8; PATH_MAX]) -> Option<&[u8]> {
    link_target(c"/proc/self/exe", buffer)
}

/// Calls `each` with the id of each thread of the process, from /proc.
///
/// # Errors
/// The error number of open(2), such as ENOENT where /proc is not mounted, or of getdents64(2).
pub fn for_each_thread(mut each: impl FnMut(i32)) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = File::new(open(c"/proc/self/task", flags, Mode::empty())?);
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        // All names but those of the directory itself and its parent are numbers.
        let name = entry.file_name().to_bytes();
        let digit = |id: i32, &digit: &u8| id.wrapping_mul(10).wrapping_add(i32::from(digit.wrapping_sub(b'0')));
        if name.iter().all(u8::is_ascii_digit) {
            each(name.iter().fold(0, digit));
        }
    }
    Ok(())
}

/// Opens a regular file for appending trace lines, and creates it if necessary. Its name, which ends in the id of the
/// process, can be guessed: so a symbolic link of that name is not followed, and no reader of a FIFO is waited for.
///
/// # Errors
/// The error number of open(2), ELOOP for a symbolic link and ENXIO for a FIFO without readers; or it is no regular file.
pub fn open_output(path: &[u8]) -> Result<File, OpenError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY;
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = Mode::from_raw_mode(0o644);
    let file = with_path(path, |path| Ok(File::new(open(path, flags, mode)?))).map_err(OpenError::Errno)?;
    Ok(regular(file)?.0)
}

/// Writes all of `bytes`.
///
/// # Errors
/// The error number of write(2), except EINTR.
pub fn write_all(output: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(&output, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Writes one line, in one write(2). A failure is ignored: there is no other place to report it.
pub fn write_line(output: impl AsFd, line: &[u8]) {
    let _ = rustix::io::write(output, line);
}

/// Standard error.
#[must_use]
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: no value owns descriptor 2. If it is closed, writing fails; if the program has opened another file
    // under the number, the line goes there, which is what writing to standard error means.
    unsafe { BorrowedFd::borrow_raw(2) }
}
