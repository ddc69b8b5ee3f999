//! The early start of the loader has no counterpart here, but for the code that first-call stubs name.

pub(crate) mod late;
