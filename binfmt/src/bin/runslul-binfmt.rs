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
    /// The directory on which binfmt_misc is mounted.
    #[arg(long, default_value = "/proc/sys/fs/binfmt_misc")]
    binfmt_misc: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Registers marked programs, and names that end in .slulb. Replaces earlier entries.
    Register {
        /// The loader: an absolute path that ends in -binfmt-P.
        #[arg(long, default_value = BINFMT_HANDLER)]
        handler: String,
        /// Give marked set-id programs their privileges. A user who can write to the loader, or to the libraries that
        /// it loads for them, then has these privileges, too.
        #[arg(long)]
        credentials: bool,
    },
    /// Removes both entries.
    Unregister,
    /// Prints the entries. Exit status 1 if there is none.
    Status,
}

/// All entries, by their names.
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
        bail!(
            "binfmt_misc is not mounted on {}: mount it there (mount -t binfmt_misc binfmt_misc {0}), \
             or name its directory with --binfmt-misc",
            root.display()
        );
    }
    match &cli.command {
        Command::Register { handler, credentials } => {
            if !handler.ends_with(KEEPS_ARGV0) || !handler.starts_with('/') {
                bail!("--handler {handler}: give an absolute path that ends in {KEEPS_ARGV0}");
            }
            let credentials = if *credentials { Credentials::OfProgram } else { Credentials::OfCaller };
            for entry in [Entry::Magic(credentials), Entry::Extension] {
                remove(root, entry)?;
                let text = entry.registration(handler);
                fs::write(root.join("register"), &text).with_context(|| {
                    format!("can not register {text} (this needs root, and the handler {handler} must exist)")
                })?;
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

/// The kernel's description of an entry; `None` if it is not registered.
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
        Some(_) => {
            fs::write(&path, "-1").with_context(|| format!("can not remove {} (needs root)", path.display()))
        }
        None => Ok(()),
    }
}
