//! Broken files on the real machine: the real mapper does what the one in memory does, and the staged loader refuses
//! or runs what it is given.
//!
//! | module | what it checks |
//! |---|---|
//! | `agree` | the in-memory and the real mapper have the same outcome, byte for byte |
//! | `real` | mutants of a library and of an executable, run by the staged loaders |
//! | `broken` | faults that mutants have found, each by itself |
//! | `generator` | the fuzzer's properties over random files, for machines without a fuzzer |
//! | `objects` | the library and the executable, made by gcc, and the places without code in them |
//! | `traced` | runs a program and distinguishes a crash of the loader from one of the program |
//! | `children` | runs this program again, and writes the files for it |
//! | `figures` | counts of the outcomes of all mutants |
//!
//! Code that may crash or leak memory runs in a child: this program again, with a first argument that can not be a
//! filter.
#![cfg(test)]
#![forbid(unsafe_code)]
#![allow(clippy::arithmetic_side_effects, reason = "an overflow is a panic, and that a failed test")]

mod agree;
mod broken;
mod children;
mod figures;
mod generator;
mod objects;
mod real;
mod traced;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use libtest_mimic::Arguments;
use tests::stage::Stage;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["child:agree", directory, name, seed, count] => {
            agree::child(directory, name, seed.parse()?, count.parse()?)?
        }
        ["child:generate", seed, count] => generator::child(seed.parse()?, count.parse()?),
        ["child:traced", user, program, ref arguments @ ..] => traced::child(user, program, arguments),
        ["child:seeds", directory] => generator::seeds(Path::new(directory))?,
        ["child:for", seconds] => generator::run_for(seconds.parse()?)?,
        [first, ..] if first.starts_with("child:") => bail!("{words:?}: not understood"),
        _ => return tests(),
    }
    Ok(ExitCode::SUCCESS)
}

fn tests() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let mut trials = agree::trials();
    trials.extend(generator::trials());
    trials.push(traced::trial());
    let stages = Stage::all()?;
    trials.extend(broken::trials(&stages));
    trials.extend(real::trials(&stages)?);
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}
