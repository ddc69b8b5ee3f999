//! The loader as a library, over files that exist only in memory.
//!
//! | module | contents |
//! |---|---|
//! | [`arena`] | memory for the loader's tables |
//! | [`os`] | the loader's seam over byte vectors: files by path, and an address space |
//! | [`faulty`] | that seam, with one failing call |
//! | [`judged`] | files are judged as if they were mapped |
//! | [`image`] | the memory of one object there, with the protection of each page |
//! | [`elf`] | description of a small ET_DYN file |
//! | [`file`] | the built file, its layout, and ways to break it |
//! | [`tables`] | its strings, symbols, hash tables and versions |
//! | [`sample`] | files with all features |
//! | [`mutation`] | random faults, the same in every run |
//! | [`property`] | properties of every file, however broken |
//! | [`scene`] | a program, its libraries and the circumstances of its start -> the phases of the loader |

pub mod arena;
pub mod elf;
pub mod faulty;
pub mod file;
pub mod image;
pub mod judged;
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
