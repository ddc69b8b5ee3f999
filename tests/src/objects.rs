//! Object files that many cases have in common: each is compiled once.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Error, Result};

use crate::workdir::Workdir;

/// Object files by what they are made of.
#[derive(Debug)]
pub struct Objects<U> {
    dir: Workdir,
    units: Mutex<HashMap<U, Arc<Compiled>>>,
}

/// An object file.
#[derive(Debug)]
struct Compiled {
    /// What tells its name from others of the same source.
    number: usize,
    /// Its path, or why there is none; made by whoever asks first.
    path: OnceLock<Result<PathBuf, String>>,
}

impl<U: Clone + Eq + Hash> Objects<U> {
    /// None yet.
    pub fn new() -> Result<Self> {
        Ok(Self { dir: Workdir::new()?, units: Mutex::default() })
    }

    /// The directory that they are in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The object file of a unit, made from the source of this name by `compile` if nobody has asked for it before.
    pub fn get(&self, unit: &U, source: &str, compile: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let compiled = {
            let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
            let number = units.len();
            let new = || Arc::new(Compiled { number, path: OnceLock::new() });
            Arc::clone(units.entry(unit.clone()).or_insert_with(new))
        };
        let path = self.dir().join(format!("{source}-{}.o", compiled.number));
        let make = || compile(&path).map(|()| path).map_err(|error| format!("{error:#}"));
        compiled.path.get_or_init(make).clone().map_err(Error::msg)
    }
}
