//! The code that runs before the loader has relocated itself.

mod block;
pub(crate) mod bootstrap;
pub(crate) mod handed;
pub(crate) mod plain;
mod program;
mod raw;
