//! Libraries opened while the program runs, and who is told of them: callers of `slul_dl*`, unwinders, debuggers.

pub(crate) mod about;
pub(crate) mod debugger;
pub(crate) mod dlfcn;
pub(crate) mod fork;
pub(crate) mod opening;
pub(crate) mod phdr_info;
pub(crate) mod runtime;
pub(crate) mod static_tls;
pub(crate) mod unwind;
pub(crate) mod waiting;
