//! The machine of the measurements.

use std::fmt;
use std::fs;
use std::process::Command;

use abi::libcs::Libc;
use anyhow::Result;
use serde_json::{Value, json};

use crate::run::output;

/// The machine, its software, and the measured commit.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The day, as YYYY-MM-DD.
    pub(crate) date: String,
    kernel: String,
    cpu: String,
    glibc: String,
    musl: String,
    gcc: String,
    commit: String,
}

impl Machine {
    /// Asks the machine.
    pub(crate) fn ask() -> Result<Self> {
        let first = |text: String| text.lines().next().unwrap_or_default().trim().to_owned();
        // No field is necessary: one that is not available is "unknown".
        let said = |command: &mut Command| output(command).map_or_else(|_| "unknown".to_owned(), first);
        Ok(Self {
            date: said(Command::new("date").args(["-u", "+%F"])),
            kernel: said(Command::new("uname").arg("-sr")),
            cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            glibc: said(Command::new("getconf").arg("GNU_LIBC_VERSION")),
            musl: musl_version(),
            gcc: said(Command::new("gcc").arg("-dumpfullversion")),
            commit: said(Command::new("git").args(["describe", "--always", "--dirty"])),
        })
    }

    /// A JSON object with all fields.
    pub(crate) fn json(&self) -> Value {
        json!({
            "date": self.date, "kernel": self.kernel, "cpu": self.cpu, "glibc": self.glibc, "musl": self.musl,
            "gcc": self.gcc, "commit": self.commit,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, cpu, glibc, musl, gcc, .. } = self;
        write!(f, "{kernel}; {cpu}; {glibc}; musl {musl}; gcc {gcc}")
    }
}

/// The processor's name and family, and whether there is a hypervisor between it and us.
fn cpu(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned());
        found.next().unwrap_or_else(|| "unknown".to_owned())
    };
    let guest = field("flags").split_whitespace().any(|flag| flag == "hypervisor");
    let place = if guest { ", in a virtual machine" } else { "" };
    format!("{} (family {}, model {}{place})", field("model name"), field("cpu family"), field("model"))
}

/// musl says its version when it is executed without arguments.
fn musl_version() -> String {
    let said = Command::new(Libc::Musl.interpreter()).output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    let version = said.lines().find_map(|line| line.strip_prefix("Version "));
    version.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        let info = "cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor fsrm\n";
        assert_eq!(cpu(info), "AMD EPYC (family 26, model 2, in a virtual machine)");
        assert_eq!(cpu(""), "unknown (family unknown, model unknown)");
    }
}
