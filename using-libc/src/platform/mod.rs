//! The base of the loader in this program: a libc that has started. `rtld/src/bin/slulrtld/platform` is the base
//! without libc. `rtld/src/run/interface.rs` lists what both offer.

mod bind;
pub(crate) mod block;
pub(crate) mod exporter;
pub(crate) mod finalisers;
pub(crate) mod image;
pub(crate) mod keep;
pub(crate) mod main_thread;
pub(crate) mod next;
pub(crate) mod other;
pub(crate) mod presence;
mod rebind;
mod shim;
pub(crate) mod thread_local;
mod walkers;

pub(crate) use bind::{comes_first, ensure_callable, ensure_libc, ensure_libc_for};
