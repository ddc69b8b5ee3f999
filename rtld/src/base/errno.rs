//! Error numbers of the kernel, and the reasons why a file could not be opened.
#![forbid(unsafe_code)]

/// An error number of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// Its name, of those that concern a loader.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "EPERM",
            2 => "ENOENT",
            4 => "EINTR",
            5 => "EIO",
            6 => "ENXIO",
            9 => "EBADF",
            11 => "EAGAIN",
            12 => "ENOMEM",
            13 => "EACCES",
            17 => "EEXIST",
            20 => "ENOTDIR",
            21 => "EISDIR",
            22 => "EINVAL",
            23 => "ENFILE",
            24 => "EMFILE",
            27 => "EFBIG",
            28 => "ENOSPC",
            32 => "EPIPE",
            36 => "ENAMETOOLONG",
            38 => "ENOSYS",
            40 => "ELOOP",
            _ => return None,
        })
    }
}

/// The reason why a file could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// open(2) failed.
    Errno(Errno),
    /// The file was opened, but fstat(2) failed.
    Stat(Errno),
    /// The path leads to something other than a regular file: a directory, FIFO, socket or device.
    NotRegular,
}

impl OpenError {
    /// Whether a search goes on with the next directory: there is no such file, or the process may not read it.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        // ENOENT, ENOTDIR, EACCES, EPERM, ENAMETOOLONG, ELOOP. Anything else (no descriptors left, say) is a
        // failure of the search itself.
        matches!(self, Self::Errno(Errno(2 | 20 | 13 | 1 | 36 | 40)))
    }
}

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// No such device or address.
    pub const ENXIO: Self = Self(6);
    /// Not an executable of a usable format.
    pub const ENOEXEC: Self = Self(8);
    /// No memory.
    pub const ENOMEM: Self = Self(12);
    /// No permission.
    pub const EACCES: Self = Self(13);
    /// Something is there already.
    pub const EEXIST: Self = Self(17);
    /// No such file or directory.
    pub const ENOENT: Self = Self(2);
    /// No such system call.
    pub const ENOSYS: Self = Self(38);
    /// A part of a path that is no directory.
    pub const ENOTDIR: Self = Self(20);
    /// The name is longer than a path may be.
    pub const ENAMETOOLONG: Self = Self(36);
}
