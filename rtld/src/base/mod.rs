//! What every other folder uses: addresses, memory, hashes, error numbers, lines of text.
pub mod addr;
pub mod arena;
pub mod errno;
pub mod hash;
pub mod limits;
pub mod report;
pub mod text;
