//! The code that runs before the loader has relocated itself.

/// What an option holds, or `None` for the whole function. `?` is a call into `core` where little is inlined.
macro_rules! known {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return None,
        }
    };
}

mod block;
pub(crate) mod bootstrap;
pub(crate) mod deferred;
pub(crate) mod handed;
pub(crate) mod late;
mod listed;
mod numbers;
mod own;
pub(crate) mod plain;
mod program;
mod raw;
pub(crate) mod saved;
pub(crate) mod sharing;
mod tables;
mod text;
