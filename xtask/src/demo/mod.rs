//! The demo: a libc-free program compresses a file with the system's zlib.

mod maps;
mod program;
mod timing;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::program::{Builder, Program, Zlib};
use crate::loader::Profile;
use crate::musl;
use crate::packages::{self, GCC, MUSL, PYTHON, ZLIB};
use crate::repo::Repo;
use crate::run::{run, step};
use crate::stage::stage_default;

/// Files of every Debian system, to be compressed.
const FILES: [&str; 3] = ["/usr/share/common-licenses/GPL-3", "/usr/bin/dpkg", "/etc/os-release"];

/// Decompresses the result with Python's zlib.
const PYTHON_CHECK: &str = "
import sys, zlib
inflater = zlib.decompressobj(31)
back = inflater.decompress(open(sys.argv[1], 'rb').read()) + inflater.flush()
same = inflater.eof and not inflater.unused_data and back == open(sys.argv[2], 'rb').read()
print('    python3, zlib', zlib.ZLIB_RUNTIME_VERSION + ':', len(back), 'bytes,', 'the same' if same else 'NOT the same')
sys.exit(not same)
";

/// Runs the demo with the system's libc, and with musl if it is installed.
pub(crate) fn demo(repo: &Repo, file: Option<&Path>, no_install: bool) -> Result<()> {
    let needed = [&GCC, &packages::BINUTILS, &ZLIB, &MUSL, &PYTHON];
    let left_out = packages::ensure(&needed, no_install)?;
    let stage = stage_default(repo, Profile::Release)?;
    let file = file.map_or_else(default_file, |file| Ok(file.to_owned()))?;
    let builder = Builder::new(repo, &stage)?;

    let mut shown = 0;
    if ZLIB.present() {
        step("the system's zlib and libc");
        let program = builder.libc_free("zdemo", &Zlib::System)?;
        show(&program, &file, maps::is_libc)?;
        step("time to entry");
        timing::compare(&program, &builder.ordinary("zdemo-ordinary")?)?;
        shown += 1;
    }
    if MUSL.present() {
        let zlib = musl::zlib(repo)?;
        step("a zlib of musl's, and so musl");
        let program = builder.libc_free("zdemo-musl", &Zlib::Musl(zlib))?;
        show(&program, &file, maps::is_musl)?;
        shown += 1;
    }

    step("summary");
    println!("shown: {shown}");
    left_out.print();
    if shown == 0 {
        bail!("nothing could be shown");
    }
    Ok(())
}

fn default_file() -> Result<PathBuf> {
    let found = FILES.iter().map(PathBuf::from).find(|file| file.exists());
    found.with_context(|| format!("none of {} is here: give a file, cargo xtask demo FILE", FILES.join(", ")))
}

/// Runs the program without and with native calls, and checks its output and its mappings.
fn show(program: &Program, file: &Path, is_its_libc: fn(&str) -> bool) -> Result<()> {
    println!("\n  zdemo --version, which calls nothing native:");
    let report = program.run(&["--version".as_ref()])?;
    let maps = report.maps("at exit")?;
    maps.print("    at exit");
    maps.require_only_ours()?;
    println!("    => no libc, nothing native\n");

    let archive = program.path.with_extension("gz");
    println!("  zdemo {} {}", file.display(), archive.display());
    let report = program.run(&[file.as_ref(), archive.as_ref()])?;
    let before = report.maps("before the first native call")?;
    before.print("    before the first native call");
    before.require_only_ours()?;
    println!("    => no libc, nothing native\n");

    let after = report.maps("after the first native call")?;
    after.print("    after the first native call");
    let libc = after.require_one_libc(is_its_libc)?;
    println!("    => libc: {libc}\n");

    println!("    zlib {}", report.text("zlib")?);
    let call = |name: &str| Ok::<_, anyhow::Error>(timing::duration(report.number(name)?));
    println!("    first native call   {:>12}", call("first-call")?);
    println!("    second native call  {:>12}", call("second-call")?);
    check(&report, file, &archive)
}

/// Checks the number of bytes that the program has read back and compared, and the result with an independent
/// decompressor.
fn check(report: &program::Report, file: &Path, archive: &Path) -> Result<()> {
    let size = std::fs::metadata(file).with_context(|| file.display().to_string())?;
    let read_back = report.number("bytes-back")?;
    println!(
        "    {} bytes -> {} bytes -> {read_back} bytes, the same",
        report.number("bytes-in")?,
        report.number("bytes-out")?,
    );
    if read_back != size.len() {
        bail!("{} has {} bytes", file.display(), size.len());
    }
    if PYTHON.present() {
        let mut python = Command::new("python3");
        run(python.args(["-c", PYTHON_CHECK]).args([archive, file])).context("python3's zlib does not agree")?;
    }
    println!();
    Ok(())
}
