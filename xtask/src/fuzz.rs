//! Fuzzing: by coverage if there are a nightly toolchain and a C++ compiler, else by files with random faults.
//!
//! The targets are in `fuzz/`, in the layout of cargo-fuzz. That tool is not needed: it would only add the compiler's
//! flags. The crate is a workspace of its own, so that its dependencies do not change the features of the loader's.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::loader::Profile;
use crate::repo::Repo;
use crate::run::{cargo, line, output, run, step, succeeds, which};
use crate::stage::stage_default;

/// The fuzz targets.
const TARGETS: [&str; 2] = ["file", "start"];

/// Options of rustc for libFuzzer's coverage, copied from cargo-fuzz.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1";

/// Mutants of each object that [`run_mutants`] runs.
const MUTANTS: &str = "2000";

/// Directories below the target directory.
struct Places {
    build: PathBuf,
    corpus: PathBuf,
    findings: PathBuf,
}

/// Fuzzes the library for `seconds` in all; a finding is an error.
pub(crate) fn fuzz(repo: &Repo, seconds: u64) -> Result<()> {
    let places = Places {
        build: repo.target().join("fuzz"),
        corpus: repo.target().join("fuzz-corpus"),
        findings: repo.target().join("fuzz-findings"),
    };
    if let Err(missing) = fuzzer_present(repo) {
        step(format!("no coverage-guided fuzzing: {missing}"));
        step(format!("files with random faults instead, from a fixed seed, for {seconds} s"));
        return run(mutants(repo).args(["--", "child:for", &seconds.to_string()]));
    }
    build(repo, &places)?;
    step(format!("what to begin with: {}", places.corpus.display()));
    let release = stage_default(repo, Profile::Release)?;
    let debug = stage_default(repo, Profile::Debug)?;
    let mut seeds = mutants(repo);
    seeds.env("SLUL_STAGE_RELEASE", &release.root).env("SLUL_STAGE_DEBUG", &debug.root);
    run(seeds.args(["--", "child:seeds"]).arg(&places.corpus))?;
    fs::create_dir_all(&places.findings)?;
    let each = (seconds / 2).max(1);
    let mut summaries = Vec::new();
    for target in TARGETS {
        summaries.push(fuzz_target(&places, repo.arch().rust_target, target, each)?);
    }
    step("no finding");
    summaries.iter().for_each(|summary| println!("{summary}"));
    Ok(())
}

/// Runs mutants of a library and of an executable under the staged loaders, and under glibc's for comparison.
pub(crate) fn run_mutants(repo: &Repo) -> Result<()> {
    let release = stage_default(repo, Profile::Release)?;
    let debug = stage_default(repo, Profile::Debug)?;
    step(format!("{MUTANTS} mutants each of a library and of an executable"));
    let mut command = mutants(repo);
    command.env("SLUL_STAGE_RELEASE", &release.root).env("SLUL_STAGE_DEBUG", &debug.root);
    run(command.env("SLUL_MUTANTS", MUTANTS).args(["--", "real/"]))
}

/// The test program that makes and runs broken files.
fn mutants(repo: &Repo) -> Command {
    let mut command = cargo(repo.root());
    command.args(["test", "--quiet", "--package", "tests", "--test", "mutants"]);
    command
}

/// An error with the first missing requirement of libFuzzer.
fn fuzzer_present(repo: &Repo) -> std::result::Result<(), &'static str> {
    // Only a list: rustup may begin to install a toolchain that it is asked for by name.
    let installed = output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let nightly_here = format!("nightly-{}", repo.arch().rust_target);
    if !installed.lines().any(|line| line.starts_with(&nightly_here)) {
        return Err("there is no nightly toolchain (rustup toolchain install nightly)");
    }
    if !succeeds(nightly("rustc").arg("--version")) {
        return Err("the nightly toolchain has no rustc that runs");
    }
    which("c++").map(drop).ok_or("there is no C++ compiler to build libFuzzer with (g++)")
}

/// A program of the nightly toolchain.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    // The cargo that runs this tool has set them for its own toolchain.
    for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command
}

fn build(repo: &Repo, places: &Places) -> Result<()> {
    let libraries = output(nightly("rustc").args(["--print", "target-libdir"]))?;
    let has_asan = fs::read_dir(libraries.trim())?
        .filter_map(Result::ok)
        .any(|entry| entry.file_name().to_string_lossy().ends_with("rt.asan.a"));
    let (sanitizer, said) = match has_asan {
        true => (" -Zsanitizer=address", "with AddressSanitizer"),
        false => ("", "without AddressSanitizer, which this nightly has not"),
    };
    step(format!("build the fuzzer, {said}"));
    let mut command = nightly("cargo");
    // With --target, cargo does not apply RUSTFLAGS to build scripts.
    command.args(["build", "--release", "--quiet", "--target", repo.arch().rust_target, "--manifest-path"]);
    command.arg(repo.root().join("fuzz/Cargo.toml")).arg("--target-dir").arg(&places.build);
    run(command.env("RUSTFLAGS", format!("{COVERAGE}{sanitizer}")))
}

/// Runs one target and returns its figures.
fn fuzz_target(places: &Places, platform: &str, target: &str, seconds: u64) -> Result<String> {
    step(format!("{target}, for {seconds} s"));
    let program = places.build.join(platform).join("release").join(target);
    let mut command = Command::new(&program);
    command.arg(places.corpus.join(target)).arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/{target}-", places.findings.display()));
    // An execution takes less than a millisecond and a few megabytes; one beyond these limits is a finding.
    command.args(["-max_len=16384", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    let mut child = command.stderr(Stdio::piped()).spawn().with_context(|| line(&command))?;
    let said = child.stderr.take().context("the fuzzer's output")?;
    let mut log = fs::File::create(places.build.join(format!("{target}.log")))?;
    let (mut last, mut figures) = (VecDeque::new(), Vec::new());
    for said in BufReader::new(said).lines() {
        let said = said.context("the fuzzer's output")?;
        writeln!(log, "{said}")?;
        figures.extend(figure(&said));
        last.push_back(said);
        if last.len() > 60 {
            last.pop_front();
        }
    }
    if !child.wait()?.success() {
        last.iter().for_each(|line| println!("    {line}"));
        bail!(
            "{target}: a finding, in {}; to see it again, run {} with that file",
            places.findings.display(),
            shown(&program)
        );
    }
    Ok(format!("{target}: {}", figures.join(", ")))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Executions or coverage from a line of the fuzzer's output, if it has them.
fn figure(line: &str) -> Option<String> {
    let coverage = line.split_once("DONE").filter(|_| line.starts_with('#')).map(|(_, coverage)| coverage);
    let figure = coverage.or_else(|| line.strip_prefix("stat::"))?;
    Some(figure.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_are_read_off_the_last_lines() {
        assert_eq!(figure("#9\tREDUCE cov: 1 ft: 2"), None);
        assert_eq!(figure("#12\tDONE   cov: 3 ft: 4 corp: 5/6b").as_deref(), Some("cov: 3 ft: 4 corp: 5/6b"));
        assert_eq!(figure("Done 12 runs in 1 second(s)"), None);
        let stat = "stat::average_exec_per_sec:     12";
        assert_eq!(figure(stat).as_deref(), Some("average_exec_per_sec: 12"));
    }
}
