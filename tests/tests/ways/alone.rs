//! Programs that need no loader, by ways that lead through one; and programs that were not started from the file that the
//! kernel has executed.

use std::path::Path;
use std::process::Command;

use abi::arch::NATIVE;
use abi::libcs::Libc;
use abi::paths::{RUNSLUL, SLULBIN};
use anyhow::{Result, ensure};
use tests::build::run;
use tests::damage::install;
use tests::launch::Ending;
use tests::recipe::SUCCESS;
use tests::stage::{self, Stage};

use tests::linked::Programs;
use tests::root::{Holds, Root};

/// A program of `tests/ways/programs`.
fn source(name: &str) -> String {
    format!("{}/tests/ways/programs/{name}.c", env!("CARGO_MANIFEST_DIR"))
}

/// Static executables and PIEs of the system's libcs: what they print is the same by every way in.
pub(crate) fn self_contained(programs: &Programs, stage: &Stage) -> Result<()> {
    let root = Root::new(stage, Holds::ALL)?;
    install(&programs.launcher(), &root.work("launch"))?;
    let mut kinds = vec![("gcc", "-static"), ("gcc", "-static-pie")];
    kinds.extend(stage::musl().map(|_| ("musl-gcc", "-static")));
    for (compiler, kind) in kinds {
        let (program, marked) = (root.work("program"), root.work("marked"));
        run(Command::new(compiler).args(["-O1", kind, "-o"]).arg(&program).arg(source("alone")))?;
        let mut slulbin = Command::new(stage.file(SLULBIN));
        run(slulbin.arg("shebang").arg(&program).arg("-o").arg(&marked))?;
        let all = [
            &["--", "/work/program", "program", "last"][..],
            &["--", RUNSLUL, "runslul", "/work/program", "last"],
            &["--", RUNSLUL, "runslul", "--argv0", "other", "/work/program", "last"],
            &["--", "/work/marked", "marked", "last"],
        ];
        let mut ordinary = None;
        for words in all {
            let outcome = root.launch(words)?;
            let expected = ordinary.get_or_insert_with(|| outcome.stdout.clone());
            let right = outcome.ending == Ending::Exit(SUCCESS) && outcome.stdout == *expected;
            ensure!(right && outcome.stderr.is_empty(), "{compiler} {kind}: {}", outcome.shown(words[1]));
        }
        ensure!(ordinary.is_some_and(|text| text.ends_with("finished\n")), "{compiler} {kind}");
        let outcome = root.launch(&["--", RUNSLUL, "runslul", "--verify", "/work/program"])?;
        ensure!(outcome.ending == Ending::Exit(0), "{}", outcome.shown("--verify"));
        let other = stage.file(NATIVE.paths.using_libc(Libc::Gnu));
        let (direct, through) = (
            Command::new(&program).arg("last").output()?,
            Command::new(other).arg(&program).arg("last").output()?,
        );
        let said = String::from_utf8_lossy(&through.stderr);
        ensure!(direct.stdout == through.stdout && direct.status == through.status, "{kind}, with libc: {said}");
    }
    Ok(())
}

/// A packer maps a program: the packer's own file, which is shorter, says nothing of it.
pub(crate) fn packed(programs: &Programs, stage: &Stage) -> Result<()> {
    let root = Root::new(stage, Holds::ALL)?;
    install(&programs.launcher(), &root.work("launch"))?;
    for flag in ["-DBASE", "-DNO_BASE"] {
        freestanding(
            stage,
            &source("pack"),
            &["-static", "-Wl,-Ttext-segment=0x10000000", flag],
            &root.work("pack"),
        )?;
        for link in [&["-pie"][..], &["-no-pie", "-fno-pie"]] {
            let interpreter = format!("-Wl,--dynamic-linker={}", NATIVE.paths.loader);
            let flags = [link, &[&interpreter, "-Wl,--no-as-needed"], &["-l:libz.so.1", "-lc"]].concat();
            freestanding(stage, &source("packed"), &flags, &root.work("packed"))?;
            for (more, said) in [(&[][..], "-"), (&["last"], "zlib")] {
                let words = [&["cwd=/work", "--", "/work/pack", "pack", "/work/packed", "first"], more].concat();
                let outcome = root.launch(&words)?;
                let expected = [&["/work/packed", "first"], more, &[said]].concat().join(" ") + "\n";
                let right = outcome.ending == Ending::Exit(SUCCESS) && outcome.stdout == expected;
                ensure!(right, "{flag} {link:?}: {}", outcome.shown(&expected));
            }
        }
    }
    Ok(())
}

/// Compiles and links a program without libc.
fn freestanding(stage: &Stage, source: &str, flags: &[&str], to: &Path) -> Result<()> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIE", "-ffreestanding", "-nostdlib"]);
    gcc.args(["-nostartfiles", "-fno-stack-protector", "-fno-tree-loop-distribute-patterns"]);
    gcc.arg("-I").arg(stage.include()).arg("-I").arg(stage::fixtures()).arg("-o").arg(to).arg(source);
    run(gcc.args(flags))
}
