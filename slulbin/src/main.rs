//! `slulbin`: changes SLUL binaries after they are linked.
#![forbid(unsafe_code)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use abi::arch::NATIVE;
use abi::line;
use abi::marker::{self, MARKER};
use abi::paths::RUNSLUL;
use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use object::LittleEndian;
use object::elf::{ET_DYN, ET_EXEC, FileHeader64};
use object::read::elf::FileHeader;

/// Changes programs for slulrtld after they are linked.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sets the marker in e_flags by which binfmt_misc recognises the program.
    Mark {
        /// The program. It is changed in place unless --output is given.
        program: PathBuf,
        /// The file for the marked program.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Makes a program whose file begins with `#!` and the loader's path.
    Shebang {
        /// The program.
        program: PathBuf,
        /// The file for the new program.
        #[arg(short, long)]
        output: PathBuf,
        /// The loader's absolute path.
        #[arg(long, default_value = RUNSLUL)]
        interpreter: String,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Mark { program, output } => mark(&program, output.as_deref().unwrap_or(&program)),
        Command::Shebang { program, output, interpreter } => shebang(&program, &output, &interpreter),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slulbin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a program; an error if it is no ELF executable of this machine.
fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let header = FileHeader64::<LittleEndian>::parse(bytes.as_slice());
    let header = header.with_context(|| format!("{}: not an ELF64 file", path.display()))?;
    let (kind, machine) = (header.e_type.get(LittleEndian), header.e_machine.get(LittleEndian));
    ensure!(
        kind == ET_EXEC || kind == ET_DYN,
        "{}: e_type is {}, neither ET_EXEC nor ET_DYN: give a program that is linked",
        path.display(),
        kind.0
    );
    ensure!(
        machine.0 == NATIVE.e_machine,
        "{}: e_machine is {}: this slulbin changes programs for {} ({})",
        path.display(),
        machine.0,
        NATIVE.name,
        NATIVE.e_machine
    );
    Ok(bytes)
}

/// Writes a program with the permissions of `like`. A new file replaces an old one at once, complete.
fn write(path: &Path, bytes: &[u8], like: &Path) -> Result<()> {
    let mode = fs::metadata(like).with_context(|| like.display().to_string())?.permissions().mode();
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = fs::write(&temporary, bytes)
        // Not the set-id bits: they are for an administrator to set, who has checked the new file.
        .and_then(|()| fs::set_permissions(&temporary, Permissions::from_mode(mode & 0o777)))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error above is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(|| path.display().to_string())
}

fn mark(program: &Path, output: &Path) -> Result<()> {
    let mut bytes = read(program)?;
    let place = bytes.get_mut(marker::offset(NATIVE.class, NATIVE.byte_order));
    *place.with_context(|| format!("{}: too short", program.display()))? = MARKER;
    write(output, &bytes, program)
}

fn shebang(program: &Path, output: &Path, interpreter: &str) -> Result<()> {
    let image = read(program)?;
    let mut bytes = format!("#!{interpreter}\n").into_bytes();
    if bytes.len() > line::LONGEST || interpreter.contains([' ', '\t', '\n']) || !interpreter.starts_with('/') {
        bail!(
            "--interpreter {interpreter}: give an absolute path without blanks; with `#!` and newline at most {} bytes",
            line::LONGEST
        );
    }
    bytes.resize(usize::try_from(line::IMAGE)?, 0);
    bytes.extend(image);
    write(output, &bytes, program)
}
