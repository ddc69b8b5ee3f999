//! The loader's base where no libc is present: the kernel. `slulrtld-using-libc` is based on libc, and has its own
//! folder of this name. `run/interface.rs` lists what both offer.

pub(crate) mod block;
pub(crate) mod bogomap;
mod choice;
mod environment;
pub(crate) mod exporter;
pub(crate) mod finalisers;
pub(crate) mod hook;
pub(crate) mod image;
pub(crate) mod keep;
pub(crate) mod libc_stack;
pub(crate) mod main_thread;
pub(crate) mod next;
pub(crate) mod notice;
pub(crate) mod other;
pub(crate) mod presence;
pub(crate) mod root;
mod stack_end;
mod template_parts;
pub(crate) mod thread_local;

pub(crate) use bogomap::{comes_first, ensure_callable, ensure_libc, ensure_libc_for};
