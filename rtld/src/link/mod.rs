//! The linking of objects: they are found, mapped, ordered, given a scope, relocated and sealed.
#![forbid(unsafe_code)]

pub mod calls;
pub mod definitions;
mod excerpts;
pub mod file;
pub mod init;
pub mod load;
pub mod namespace;
pub mod peek;
pub mod reloc;
pub mod resolve;
pub mod sealed;
pub mod search;
pub mod stubs;
pub mod tls;
pub(crate) mod tried;
pub(crate) mod worlds;
