//! The link lines of the README, unchanged.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::build::run;
use tests::damage::install;
use tests::launch::Ending;
use tests::stage::Stage;
use tests::workdir::Workdir;

use tests::linked::Programs;
use tests::root::{Holds, Root};

/// The blocks of code after a line of the README, up to the next heading: language and text.
fn blocks(readme: &str, after: &str) -> Vec<(String, String)> {
    let lines = readme.lines().skip_while(|line| *line != after).skip(1);
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in lines.take_while(|line| !line.starts_with("## ")) {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => blocks.push((language.to_owned(), String::new())),
            (None, true) => {
                if let Some((_, text)) = blocks.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            _ => {}
        }
        inside ^= line.starts_with("```");
    }
    blocks
}

/// Links by each line, with each stub, and runs the programs.
pub(crate) fn check(programs: &Programs, stage: &Stage) -> Result<()> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"))?;
    let dir = Workdir::new()?;
    let block = |after: &str, language: &str| {
        let found = blocks(&readme, after).into_iter().find(|(found, _)| found == language);
        found.map(|(_, text)| text).with_context(|| format!("README: no {language} after {after}"))
    };
    const SECTION: &str = "## Programs without PT_INTERP";
    fs::write(dir.path().join("zversion.c"), block("## What it is for", "c")?)?;
    fs::write(dir.path().join("zversion.rs"), block(SECTION, "rust")?)?;
    let lines = block(SECTION, "")?.replace("\\\n", "");
    let root = Root::new(stage, Holds::ALL)?;
    install(&programs.launcher(), &root.work("launch"))?;
    let mut linked = 0;
    for stub in ["rt0.o", "rt0-map.o", "rt0-embed.o"] {
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let line = line.replace("rt0-embed.o", stub);
            let script = format!("D={}\n{line}", stage.root.display());
            run(Command::new("sh").arg("-ec").arg(script).current_dir(dir.path()))?;
            if !line.contains(stub) {
                continue;
            }
            linked += 1;
            install(&dir.path().join("zversion"), &root.work("zversion"))?;
            let outcome = root.launch(&["--", "/work/zversion", "zversion", "now"])?;
            let as_it_should = outcome.ending == Ending::Exit(0) && outcome.stdout.starts_with("1.");
            ensure!(as_it_should, "{}", outcome.shown(&line));
        }
    }
    ensure!(linked == 12, "the README has {linked} lines that link, with each of three stubs");
    Ok(())
}
