//! The programs of a test target for one loader. Its cases share them; each is built once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::build::Build;
use crate::damage::install;
use crate::directive::Fixture;
use crate::launch::User;
use crate::recipe::Recipe;
use crate::stage::{LOADER, Stage};
use crate::workdir::Workdir;
use anyhow::{Context, Result, anyhow};

use crate::start::Start;

/// A program; the first case that asks for it builds it.
struct Program {
    recipe: Recipe,
    build: OnceLock<Result<Build, String>>,
}

/// One loader, and all programs for it.
pub struct World {
    /// The loader.
    pub stage: Stage,
    programs: BTreeMap<String, Program>,
}

impl World {
    /// The programs in the folder `programs` of a test target, for a loader. None is built yet.
    ///
    /// # Errors
    /// The folder can not be read, or a source has a directive that is wrong.
    pub fn new(stage: Stage, target: &str) -> Result<Self> {
        let programs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).join(target).join("programs");
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&programs)? {
            let fixture = Fixture::read(&programs, &entry?.path())?;
            for recipe in Recipe::all(&fixture)? {
                all.insert(recipe.name.clone(), Program { recipe, build: OnceLock::new() });
            }
        }
        Ok(Self { stage, programs: all })
    }

    /// A program by its name, with its variant if it has any: `native`, `report/full`.
    ///
    /// # Errors
    /// There is no such program, or it can not be built.
    pub fn program(&self, name: &str) -> Result<&Build> {
        let program = self.programs.get(name).with_context(|| format!("no program {name}"))?;
        let build = || Build::new(&program.recipe, &self.stage).map_err(|error| format!("{error:#}"));
        program.build.get_or_init(build).as_ref().map_err(|text| anyhow!("{text}"))
    }
}

/// A loader and a user, for one run of a case.
#[derive(Clone, Copy)]
pub struct Case<'w> {
    /// Loader and programs.
    pub world: &'w World,
    /// The user that programs run as.
    pub user: User,
}

impl Case<'_> {
    /// A start of one of the programs.
    ///
    /// # Errors
    /// There is no such program, or it can not be built.
    pub fn start(&self, name: &str) -> Result<Start> {
        Ok(Start::new(self.world.program(name)?.path(), self.user))
    }

    /// A directory with a copy of a program and its libraries, which the case may change, and the copy's path.
    ///
    /// # Errors
    /// There is no such program, or it can not be built or copied.
    pub fn copy(&self, name: &str) -> Result<(Workdir, PathBuf)> {
        let (workdir, build) = (Workdir::new()?, self.world.program(name)?);
        for entry in fs::read_dir(build.dir())? {
            let entry = entry?;
            if entry.file_name() != LOADER {
                install(&entry.path(), &workdir.path().join(entry.file_name()))?;
            }
        }
        let program = workdir.path().join(build.path().file_name().context("a program without a name")?);
        Ok((workdir, program))
    }

    /// The start of a program by the loader's own name.
    pub fn direct(&self, program: &Path) -> Start {
        let loader = self.world.stage.loader();
        Start::new(&loader, self.user).arg(program.to_string_lossy())
    }

    /// The start of a program that rt0 hands over.
    pub fn handed(&self, program: &Path) -> Start {
        self.direct(program).called("@000003").open(program)
    }
}
