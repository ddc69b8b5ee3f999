//! The loader as a library, over files that exist only in memory.
//!
//! | module | what it is |
//! |---|---|
//! | [`arena`] | memory for what the loader makes |
//! | [`os`] | the loader's seam over byte vectors: files by path, and an address space |
//! | [`faulty`] | the same, where one call fails |
//! | [`image`] | the memory of one object there, with the protection of each page |
//! | [`elf`] | a small ET_DYN file, as it is described |
//! | [`file`] | the file once it is made, its layout, and ways to break it |
//! | [`tables`] | its strings, symbols, hash tables and versions |
//! | [`sample`] | files that have something of everything |
//! | [`mutation`] | random faults, the same in every run |
//! | [`property`] | what holds of every file, however broken |
//! | [`scene`] | a program, its libraries and how it was started -> the phases of the loader |

pub mod arena;
pub mod elf;
pub mod faulty;
pub mod file;
pub mod image;
pub mod mutation;
pub mod os;
pub mod property;
pub mod sample;
pub mod scene;
pub mod tables;

pub use elf::ElfBuilder;
pub use faulty::Faulty;
pub use file::Elf;
pub use image::MemImage;
pub use os::{Call, MemOs};
pub use scene::Scene;
pub use tables::{Hash, Symbol};
