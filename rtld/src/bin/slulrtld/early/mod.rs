//! Before the loader has relocated itself.

pub(crate) mod bootstrap;
pub(crate) mod handed;
pub(crate) mod plain;
