//! Where absolute paths begin: the root directory of the process.
//!
//! # Safety
//! This file exists because the kernel writes its answers to addresses.
#![allow(unsafe_code)]

use core::mem::MaybeUninit;

use linux_raw_sys::general::{AT_FDCWD, STATX_INO, STATX_MNT_ID, STATX_MNT_ID_UNIQUE, statx};
use rtld::error::{Errno, Error, Problem};

use crate::cpu::number::STATX;
use crate::cpu::ops::call;
use crate::run::kept::Root;
use crate::run::process::Process;

/// What is asked of the root directory. The mount tells a mount namespace, because each has mounts of its own. Its number
/// is never used again since Linux 6.8; an older kernel ignores that wish. Without a number (before Linux 5.8) a change
/// of the namespace alone is not noticed.
pub(crate) const ASKED: u32 = STATX_INO | STATX_MNT_ID | STATX_MNT_ID_UNIQUE;

/// The root directory now.
///
/// # Errors
/// The error number of statx(2): ENOSYS before Linux 4.11, and where a filter says so.
pub(crate) fn now() -> Result<Root, Errno> {
    let (here, path) = (AT_FDCWD as usize, c"/".as_ptr().expose_provenance());
    let mut place = MaybeUninit::<statx>::zeroed();
    let answer = place.as_mut_ptr().expose_provenance();
    // SAFETY: a path, and room for what the kernel says of it.
    let result = unsafe { call(STATX, [here, path, 0, ASKED as usize, answer, 0]) };
    if result == 0 {
        // SAFETY: zeros are valid, and so is what the kernel has written over them.
        let root = unsafe { place.assume_init() };
        let device = u64::from(root.stx_dev_major) | u64::from(root.stx_dev_minor) << 32;
        return Ok(Root { inode: root.stx_ino, device, mount: root.stx_mnt_id });
    }
    Err(Errno(i32::try_from(result.cast_signed().wrapping_neg()).unwrap_or(0)))
}

/// Refuses to take a libc from another root directory, or another mount namespace, than the start's.
///
/// # Errors
/// It is another; or the kernel does not tell.
pub(crate) fn require_same(process: &Process) -> Result<(), Error<'static>> {
    let Some(before) = process.kept.root else { return Ok(()) };
    let problem = match now() {
        Ok(root) if root == before => return Ok(()),
        Ok(_) => Problem::OtherRoot,
        Err(error) => Problem::UnknownRoot(error),
    };
    Err(Error::new(process.sealed.namespace.module(0).path, problem))
}
