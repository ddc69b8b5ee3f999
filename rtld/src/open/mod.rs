//! Libraries that are opened while the program runs: their list, their scopes, and the lookup of names in them.
#![forbid(unsafe_code)]

pub mod closing;
pub mod find;
pub mod late_tls;
pub mod libraries;
pub mod natives;
pub mod opened;
pub mod theirs;
pub mod waiting;
