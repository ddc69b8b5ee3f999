//! Object files that several cases use: each is compiled once.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Error, Result};

use crate::workdir::Workdir;

/// Object files, by their unit: source and options.
#[derive(Debug)]
pub struct Objects<U> {
    dir: Workdir,
    units: Mutex<HashMap<U, Arc<Compiled>>>,
}

/// An object file.
#[derive(Debug)]
struct Compiled {
    /// Distinguishes its name from others of the same source.
    number: usize,
    /// Its path, or the compiler's error; set by the first case that asks.
    path: OnceLock<Result<PathBuf, String>>,
}

impl<U: Clone + Eq + Hash> Objects<U> {
    /// An empty directory for object files.
    ///
    /// # Errors
    /// The directory can not be made.
    pub fn new() -> Result<Self> {
        Ok(Self { dir: Workdir::new()?, units: Mutex::default() })
    }

    /// The directory that they are in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The object file of a unit. At the first request `compile` makes it, at a path with the name of the source.
    ///
    /// # Errors
    /// `compile` failed, now or at the first request.
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
