//! A process from the full start on. Both programs contain this module: `slulrtld`, whose `platform` is the kernel, and
//! `slulrtld-using-libc`, whose `platform` is a libc that has started. The programs differ in their `platform` and
//! `cpu` modules; `interface.rs` lists what a `platform` offers.

pub(crate) mod begin;
pub(crate) mod blocks;
pub(crate) mod clock;
pub(crate) mod code;
pub(crate) mod command;
pub(crate) mod cpu;
pub(crate) mod cut;
pub(crate) mod exports;
pub(crate) mod finish;
pub(crate) mod first_call;
mod foreign;
pub(crate) mod inspect;
mod interface;
pub(crate) mod kept;
pub(crate) mod kernel;
pub(crate) mod last_words;
pub(crate) mod native;
pub(crate) mod open;
pub(crate) mod process;
pub(crate) mod refusal;
pub(crate) mod started;
pub(crate) mod sync;
pub(crate) mod thread;
pub(crate) mod thread_pointer;
pub(crate) mod tls;
pub(crate) mod trace;
