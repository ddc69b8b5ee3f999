//! What the cases share: the programs under a loader, built once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use tests::build::Build;
use tests::damage::install;
use tests::directive::Fixture;
use tests::launch::User;
use tests::recipe::Recipe;
use tests::stage::{LOADER, Stage};
use tests::workdir::Workdir;

use crate::launcher::Start;

/// The programs of these tests.
fn programs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/programs"))
}

/// A program, built by whichever case comes first.
struct Program {
    recipe: Recipe,
    build: OnceLock<Result<Build, String>>,
}

/// One loader, and all programs for it.
pub(crate) struct World {
    /// The loader.
    pub(crate) stage: Stage,
    programs: BTreeMap<String, Program>,
}

impl World {
    /// The world of a loader.
    pub(crate) fn new(stage: Stage) -> Result<Self> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(programs())? {
            let fixture = Fixture::read(programs(), &entry?.path())?;
            for recipe in Recipe::all(&fixture)? {
                all.insert(recipe.name.clone(), Program { recipe, build: OnceLock::new() });
            }
        }
        Ok(Self { stage, programs: all })
    }

    /// A program, `native` or `report/full`.
    pub(crate) fn program(&self, name: &str) -> Result<&Build> {
        let program = self.programs.get(name).with_context(|| format!("no program {name}"))?;
        let build = || Build::new(&program.recipe, &self.stage).map_err(|error| format!("{error:#}"));
        program.build.get_or_init(build).as_ref().map_err(|text| anyhow!("{text}"))
    }
}

/// What a case is run with.
#[derive(Clone, Copy)]
pub(crate) struct Case<'w> {
    /// Loader and programs.
    pub(crate) world: &'w World,
    /// As whom.
    pub(crate) user: User,
}

impl Case<'_> {
    /// A start of one of the programs.
    pub(crate) fn start(&self, name: &str) -> Result<Start> {
        Ok(Start::new(self.world.program(name)?.path(), self.user))
    }

    /// A directory with a copy of a program and its libraries, to be changed.
    pub(crate) fn copy(&self, name: &str) -> Result<(Workdir, PathBuf)> {
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
    pub(crate) fn direct(&self, program: &Path) -> Start {
        let loader = self.world.stage.loader();
        Start::new(&loader, self.user).arg(program.to_string_lossy())
    }

    /// The start of a program that rt0 hands over.
    pub(crate) fn handed(&self, program: &Path) -> Start {
        self.direct(program).called("@000003").open(program)
    }
}
