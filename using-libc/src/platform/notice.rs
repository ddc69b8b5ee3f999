//! There is nothing to notice: libc was started as in any other process.
#![forbid(unsafe_code)]

use rtld::base::addr::RuntimeAddr;

/// What debuggers are told besides.
pub(crate) struct Notice {
    pub(crate) listed: [Option<Listed>; 0],
    pub(crate) frame: RuntimeAddr,
}

/// What a debugger is told of an object.
pub(crate) struct Listed {
    pub(crate) bias: usize,
    pub(crate) name: usize,
    pub(crate) dynamic: usize,
}
