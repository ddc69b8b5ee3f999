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
    /// Sets the marker by which binfmt_misc knows the program.
    Mark {
        /// The program, which is changed unless another name is given.
        program: PathBuf,
        /// Where the marked program goes.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Makes a program that starts with `#!`.
    Shebang {
        /// The program.
        program: PathBuf,
        /// Where the new one goes.
        #[arg(short, long)]
        output: PathBuf,
        /// The loader.
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

/// Reads a program; anything that no loader of this machine runs is an error.
fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let header = FileHeader64::<LittleEndian>::parse(bytes.as_slice());
    let header = header.with_context(|| format!("{}: not an ELF64 file", path.display()))?;
    let (kind, machine) = (header.e_type.get(LittleEndian), header.e_machine.get(LittleEndian));
    ensure!(kind == ET_EXEC || kind == ET_DYN, "{}: e_type is {}, not an executable's", path.display(), kind.0);
    ensure!(
        machine.0 == NATIVE.e_machine,
        "{}: e_machine is {}, not {}'s ({})",
        path.display(),
        machine.0,
        NATIVE.name,
        NATIVE.e_machine
    );
    Ok(bytes)
}

/// Writes a program with the permissions that another has, all at once.
fn write(path: &Path, bytes: &[u8], like: &Path) -> Result<()> {
    let mode = fs::metadata(like).with_context(|| like.display().to_string())?.permissions().mode();
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".new-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = fs::write(&temporary, bytes)
        // Not the set-id bits: who sets them has looked at the file that gets them.
        .and_then(|()| fs::set_permissions(&temporary, Permissions::from_mode(mode & 0o777)))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error that matters is the one above.
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
            "{interpreter}: not an absolute path, without blanks, that fits in a line of {} bytes",
            line::LONGEST
        );
    }
    bytes.resize(usize::try_from(line::IMAGE)?, 0);
    bytes.extend(image);
    write(output, &bytes, program)
}
