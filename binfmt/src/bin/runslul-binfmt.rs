//! `runslul-binfmt`: registers the loader with binfmt_misc on a running system, and removes it.
#![forbid(unsafe_code)]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use abi::marker::KEEPS_ARGV0;
use abi::paths::BINFMT_HANDLER;
use anyhow::{Context, Result, bail};
use binfmt::{Credentials, Entry};
use clap::{Parser, Subcommand};

/// Registers slulrtld with binfmt_misc, so that programs for it run by their own name wherever they are.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Where binfmt_misc is mounted.
    #[arg(long, default_value = "/proc/sys/fs/binfmt_misc")]
    binfmt_misc: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Registers marked programs, and names that end in .slulb. What was registered before is replaced.
    Register {
        /// The loader; its name must end in -binfmt-P.
        #[arg(long, default_value = BINFMT_HANDLER)]
        handler: String,
        /// Let marked set-id programs have their privileges. Whoever can write to the loader, or to what it loads for
        /// them, has them too.
        #[arg(long)]
        credentials: bool,
    },
    /// Removes both.
    Unregister,
    /// Says what is registered. Exit status 1 if nothing is.
    Status,
}

/// All that may be registered.
const ENTRIES: [Entry; 2] = [Entry::Magic(Credentials::OfCaller), Entry::Extension];

fn main() -> ExitCode {
    let cli = Cli::parse();
    match obey(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("runslul-binfmt: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(cli: &Cli) -> Result<ExitCode> {
    let root = &cli.binfmt_misc;
    if !root.join("register").exists() {
        bail!("binfmt_misc is not mounted on {}: mount -t binfmt_misc binfmt_misc {0}", root.display());
    }
    match &cli.command {
        Command::Register { handler, credentials } => {
            if !handler.ends_with(KEEPS_ARGV0) || !handler.starts_with('/') {
                bail!("{handler}: the handler is an absolute path that ends in {KEEPS_ARGV0}");
            }
            let credentials = if *credentials { Credentials::OfProgram } else { Credentials::OfCaller };
            for entry in [Entry::Magic(credentials), Entry::Extension] {
                remove(root, entry)?;
                let text = entry.registration(handler);
                fs::write(root.join("register"), &text).with_context(|| format!("register {text}"))?;
            }
        }
        Command::Unregister => ENTRIES.into_iter().try_for_each(|entry| remove(root, entry))?,
        Command::Status => {
            let mut registered = false;
            for entry in ENTRIES {
                let shown = read(&root.join(entry.name()))?;
                registered |= shown.is_some();
                println!("{}: {}", entry.name(), shown.as_deref().map_or("not registered", str::trim_end));
            }
            return Ok(if registered { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What binfmt_misc says of an entry.
fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn remove(root: &Path, entry: Entry) -> Result<()> {
    let path = root.join(entry.name());
    match read(&path)? {
        Some(_) => fs::write(&path, "-1").with_context(|| format!("remove {}", path.display())),
        None => Ok(()),
    }
}
