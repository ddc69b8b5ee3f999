//! What is kept of the start for libc: it may come when the program has changed its environment, its directory, its root.
#![forbid(unsafe_code)]

/// What libc would have found if it had come at the start.
pub(crate) struct KeptForLibc {
    /// The variables that libc reads when it starts: place in envp, and text. The program may have written over the
    /// strings of the block, in place of these and of others; `None` if libc comes before it can.
    pub(crate) variables: Option<&'static [(usize, &'static [u8])]>,
    /// The current directory of the start, if some path depends on it.
    pub(crate) directory: Option<&'static [u8]>,
    /// The root directory of the start; `None` if libc comes before the program can change it.
    pub(crate) root: Option<Root>,
    /// Whether something can not be kept, so that libc has to come before the program's entry.
    pub(crate) at_once: bool,
}

impl KeptForLibc {
    /// Of a process in which libc is there from the start.
    pub(crate) const NOTHING: Self = Self { variables: None, directory: None, root: None, at_once: false };
}

/// What a deferred start has left.
#[derive(Clone, Copy)]
pub(crate) struct LeftForLate {
    /// Address of the program's copy of the block.
    pub(crate) copy: u64,
    /// The process that was started.
    pub(crate) id: u32,
    /// The root directory.
    pub(crate) root: Root,
    /// The one variable that libc reads when it starts, if there was one: place in envp, and text.
    pub(crate) variable: Option<(usize, &'static [u8])>,
}

/// A root directory, and by its mount the mount namespace: inode, device (major number in the lower half), and number of
/// the mount, which is 0 if the kernel does not tell.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Root {
    pub(crate) inode: u64,
    pub(crate) device: u64,
    pub(crate) mount: u64,
}
