//! What the loader stands on here: a libc that has started. The loader has its folder of this name for where no libc is
//! there. `rtld/src/run/interface.rs` says what both have.

mod bind;
pub(crate) mod exporter;
pub(crate) mod finalisers;
pub(crate) mod gap;
pub(crate) mod image;
pub(crate) mod main_thread;
pub(crate) mod other;
pub(crate) mod presence;
mod shim;
pub(crate) mod thread_local;

pub(crate) use bind::{comes_first, ensure_libc, ensure_libc_for};
