//! Instructions of programs that are too long for single steps, counted by valgrind.
//!
//! valgrind starts a program with its PT_INTERP as the kernel does, but on a stack of its own, which can not grow: so
//! only programs without native needs can be counted.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::ENVIRONMENT;
use crate::run::line;

/// Instructions of a program and its loader in user mode.
pub(crate) fn instructions(program: &Path, variables: &[(&str, &str)], status: i32) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .env_clear()
        .envs(ENVIRONMENT)
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    let output = command.output().with_context(|| line(&command))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(status) {
        bail!("{}: {}, not {status}\n{said}", line(&command), output.status);
    }
    collected(&said).with_context(|| format!("{}: no count\n{said}", line(&command)))
}

/// The number in `==123== Collected : 456`.
fn collected(said: &str) -> Option<u64> {
    let counts = said.lines().find_map(|line| line.split_once("Collected : "));
    counts?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found() {
        assert_eq!(collected("==1== \n==1== Collected : 18479618\n==1== \n"), Some(18_479_618));
        assert_eq!(collected("==1== Events    : Ir\n"), None);
    }
}
