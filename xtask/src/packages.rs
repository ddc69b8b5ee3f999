//! Debian packages that the commands need, and what is left out without them.

use std::path::Path;
use std::process::Command;

use abi::arch::NATIVE;
use abi::libcs::Libc;
use anyhow::{Result, bail};

use crate::run::{output, run, step, succeeds, which};

/// A Debian package, and a check for its files that also works on other distributions.
pub(crate) struct Package {
    name: &'static str,
    /// What is left out without it; `None` if nothing can be done without it.
    leaves_out: Option<&'static str>,
    present: fn() -> bool,
}

/// The C compiler and linker, with libc's headers.
pub(crate) const GCC: Package = Package { name: "gcc", leaves_out: None, present: || which("gcc").is_some() };

/// `strip`.
pub(crate) const BINUTILS: Package =
    Package { name: "binutils", leaves_out: None, present: || which("strip").is_some() };

/// zlib's header and the `libz.so` that `-lz` finds.
pub(crate) const ZLIB: Package = Package {
    name: "zlib1g-dev",
    leaves_out: Some("everything that calls the system's zlib"),
    present: zlib_present,
};

/// musl, and a compiler driver for it.
pub(crate) const MUSL: Package = Package {
    name: "musl-tools",
    leaves_out: Some("everything that goes through musl"),
    present: || which("musl-gcc").is_some() && Path::new(Libc::Musl.interpreter()).exists(),
};

/// An independent zlib decompressor.
pub(crate) const PYTHON: Package = Package {
    name: "python3",
    leaves_out: Some("the comparison with python3's zlib"),
    present: || succeeds(Command::new("python3").args(["-c", "import zlib"])),
};

/// The debugger.
pub(crate) const GDB: Package =
    Package { name: "gdb", leaves_out: Some("what is checked through gdb"), present: || which("gdb").is_some() };

/// The second compiler of C.
pub(crate) const CLANG: Package =
    Package { name: "clang", leaves_out: Some("what is compiled by clang"), present: || which("clang").is_some() };

/// The second linker.
pub(crate) const LLD: Package =
    Package { name: "lld", leaves_out: Some("what is linked by lld"), present: || which("ld.lld").is_some() };

/// The third linker.
pub(crate) const MOLD: Package =
    Package { name: "mold", leaves_out: Some("what is linked by mold"), present: || which("mold").is_some() };

/// The compiler of C++, with its library.
pub(crate) const GXX: Package = Package {
    name: "g++",
    leaves_out: Some("what throws C++ exceptions through libc-free code"),
    present: || which("g++").is_some(),
};

/// Counts the instructions of programs that are too long for single steps, and checks a process of slulrtld-using-libc.
pub(crate) const VALGRIND: Package = Package {
    name: "valgrind",
    leaves_out: Some("counts of the instructions that many libraries take, and what is run under valgrind"),
    present: || which("valgrind").is_some(),
};

/// Traces library calls of a process of slulrtld-using-libc.
pub(crate) const LTRACE: Package = Package {
    name: "ltrace",
    leaves_out: Some("what is run under ltrace"),
    present: || which("ltrace").is_some(),
};

/// An allocator that replaces libc's.
pub(crate) const JEMALLOC: Package = Package {
    name: "libjemalloc2",
    leaves_out: Some("an allocator library in DT_NEEDED"),
    present: || Path::new("/usr/lib").join(NATIVE.multiarch).join("libjemalloc.so.2").exists(),
};

/// A garbage collector, which walks the objects of a process.
pub(crate) const LIBGC: Package = Package {
    name: "libgc-dev",
    leaves_out: Some("roots of a garbage collector"),
    present: || Path::new("/usr/include/gc.h").exists(),
};

/// A database whose functions call back into the program.
pub(crate) const SQLITE: Package = Package {
    name: "libsqlite3-dev",
    leaves_out: Some("callbacks of a database"),
    present: || Path::new("/usr/include/sqlite3.h").exists(),
};

fn zlib_present() -> bool {
    let mut ask = Command::new("gcc");
    // gcc answers with the bare name when it does not find the file.
    let found =
        output(ask.arg("-print-file-name=libz.so")).is_ok_and(|answer| Path::new(answer.trim()).is_absolute());
    found && Path::new("/usr/include/zlib.h").exists()
}

impl Package {
    /// Whether its files are there now.
    pub(crate) fn present(&self) -> bool {
        (self.present)()
    }
}

/// Parts of a command that could not be done on this machine, a line each.
#[derive(Default)]
pub(crate) struct LeftOut(Vec<String>);

impl LeftOut {
    /// Adds a part.
    pub(crate) fn push(&mut self, what: String) {
        self.0.push(what);
    }

    /// Prints the count, and each with its reason.
    pub(crate) fn print(&self) {
        println!("left out: {}", self.0.len());
        for what in &self.0 {
            println!("  - {what}");
        }
    }
}

/// Installs missing packages, if it may; returns the parts that are left out without those still missing.
pub(crate) fn ensure(packages: &[&Package], no_install: bool) -> Result<LeftOut> {
    let missing: Vec<_> = packages.iter().filter(|p| !p.present()).collect();
    if missing.is_empty() {
        let names: Vec<_> = packages.iter().map(|p| p.name).collect();
        step(format!("Debian packages: all there ({})", names.join(", ")));
        return Ok(LeftOut::default());
    }
    let names: Vec<_> = missing.iter().map(|p| p.name).collect();
    step(format!("Debian packages missing: {}", names.join(", ")));
    let reason = match refusal(no_install) {
        Some(reason) => reason,
        None => install(&names),
    };
    let mut left_out = LeftOut::default();
    for package in missing.iter().filter(|p| !p.present()) {
        let name = package.name;
        match package.leaves_out {
            Some(what) => left_out.push(format!("{what}: no {name} ({reason})")),
            None => bail!("the Debian package {name} is needed ({reason}): apt-get install {name}"),
        }
    }
    Ok(left_out)
}

/// The reason for which nothing can be installed, if there is one.
fn refusal(no_install: bool) -> Option<&'static str> {
    if no_install {
        Some("--no-install was given")
    } else if !nix::unistd::geteuid().is_root() {
        Some("not root, so it cannot be installed")
    } else if which("apt-get").is_none() {
        Some("there is no apt-get to install it with")
    } else {
        None
    }
}

/// Installs each package by itself, so that one which is not available does not prevent the others.
/// Returns the reason to give for packages that are still missing afterwards.
fn install(names: &[&str]) -> &'static str {
    step("apt-get update");
    if let Err(error) = run(apt_get().args(["-qq", "update"])) {
        // Not an error: the present lists may suffice.
        println!("    {error:#}");
    }
    for name in names {
        step(format!("apt-get install {name}"));
        let options = ["-qq", "install", "-y", "--no-install-recommends"];
        if let Err(error) = run(apt_get().args(options).arg(name)) {
            println!("    {error:#}");
        }
    }
    "installing it failed"
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["-o", "Dpkg::Use-Pty=0"]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Package = Package { name: "nothing-like-it", leaves_out: Some("the moon"), present: || false };

    #[test]
    fn what_is_missing_is_left_out_with_its_reason() {
        let left_out = ensure(&[&ABSENT], true).unwrap();
        assert_eq!(left_out.0, ["the moon: no nothing-like-it (--no-install was given)"]);
    }

    #[test]
    fn what_nothing_works_without_is_an_error() {
        let needed = Package { leaves_out: None, ..ABSENT };
        assert!(ensure(&[&needed], true).is_err());
    }
}
