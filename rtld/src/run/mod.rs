//! A process from the full start on. Both programs have this module: `slulrtld`, which stands on the kernel, and
//! `slulrtld-using-libc`, which stands on a libc that has started. What differs between them is their `platform` and
//! their `cpu`.

pub(crate) mod begin;
pub(crate) mod clock;
pub(crate) mod code;
pub(crate) mod command;
pub(crate) mod cpu;
pub(crate) mod cut;
pub(crate) mod exports;
pub(crate) mod finish;
pub(crate) mod first_call;
pub(crate) mod inspect;
mod interface;
pub(crate) mod kernel;
pub(crate) mod last_words;
pub(crate) mod native;
pub(crate) mod open;
pub(crate) mod process;
pub(crate) mod refusal;
pub(crate) mod started;
pub(crate) mod sync;
pub(crate) mod thread;
pub(crate) mod trace;
