//! `/proc/self/maps`, an entry for each name, and checks for libc in it.

use abi::libcs::Libc;
use anyhow::{Result, bail};

/// All mappings with one name.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    mappings: usize,
    bytes: u64,
    ours: bool,
}

/// The mappings of a process, an entry for each name.
#[derive(Debug)]
pub(crate) struct Maps(Vec<Entry>);

const ANONYMOUS: &str = "(anonymous)";

impl Maps {
    /// Reads the lines; `ours` are the paths of the program and the loader.
    pub(crate) fn parse<'a>(lines: impl Iterator<Item = &'a str>, ours: &[String]) -> Self {
        let mut entries: Vec<Entry> = Vec::new();
        for line in lines {
            let (name, bytes) = name_and_size(line);
            match entries.iter_mut().find(|entry| entry.name == name) {
                Some(entry) => {
                    entry.mappings += 1;
                    entry.bytes += bytes;
                }
                None => entries.push(Entry {
                    name: name.to_owned(),
                    mappings: 1,
                    bytes,
                    ours: ours.iter().any(|path| path == name),
                }),
            }
        }
        Self(entries)
    }

    /// Prints them under a title.
    pub(crate) fn print(&self, title: &str) {
        println!("{title}:");
        for entry in &self.0 {
            let kib = entry.bytes / 1024;
            println!("      {:>3} x {kib:>7} KiB  {}", entry.mappings, entry.name);
        }
    }

    /// An error unless no file but the program's and the loader's is mapped.
    pub(crate) fn require_only_ours(&self) -> Result<()> {
        if self.0.is_empty() {
            bail!("the program showed empty maps");
        }
        let foreign: Vec<&str> = self.foreign_files().collect();
        if !foreign.is_empty() {
            bail!("mapped before any native call: {}", foreign.join(", "));
        }
        Ok(())
    }

    /// The path of the libc; an error unless exactly one is mapped and `is_it` is true of it.
    pub(crate) fn require_one_libc(&self, is_it: fn(&str) -> bool) -> Result<&str> {
        let libcs: Vec<&str> = self.foreign_files().filter(|path| is_libc(path)).collect();
        match libcs.as_slice() {
            [libc] if is_it(libc) => Ok(*libc),
            [] => bail!("no libc is mapped after a native call"),
            _ => bail!("not the libc that was to be mapped: {}", libcs.join(", ")),
        }
    }

    /// Files that are neither the program nor the loader.
    fn foreign_files(&self) -> impl Iterator<Item = &str> {
        let foreign = self.0.iter().filter(|e| !e.ours && e.name.starts_with('/'));
        foreign.map(|entry| entry.name.as_str())
    }
}

/// Name and size in bytes, from `start-end perms offset dev inode   name`.
fn name_and_size(line: &str) -> (&str, u64) {
    let mut rest = line;
    let mut fields = [""; 5];
    for field in &mut fields {
        let (head, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        *field = head;
        rest = tail;
    }
    let [range, ..] = fields;
    let (start, end) = range.split_once('-').unwrap_or_default();
    let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
    let name = rest.trim_start();
    let name = if name.is_empty() { ANONYMOUS } else { name };
    (name, number(end).saturating_sub(number(start)))
}

/// Whether a path is a libc's.
pub(crate) fn is_libc(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    is_musl(path) || name.starts_with("libc.so.") || name.starts_with("libc-2.")
}

/// Whether a path is musl, which is library and loader in one.
pub(crate) fn is_musl(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    Libc::named_by(name.as_bytes()) == Some(Libc::Musl)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "55d5c000-55d5e000 r--p 00000000 fe:00 1234           /opt/a program";
    const STACK: &str = "7ffc0000-7ffe1000 rw-p 00000000 00:00 0              [stack]";
    const HEAP: &str = "7f000000-7f002000 rw-p 00000000 00:00 0 ";
    const GLIBC: &str = "7f100000-7f200000 r-xp 00026000 fe:00 99 /usr/lib/x86_64-linux-gnu/libc.so.6";
    const OLD_GLIBC: &str = "7f300000-7f400000 r-xp 00026000 fe:00 98 /lib/libc-2.31.so";
    const MUSL: &str = "7f500000-7f600000 r-xp 00000000 fe:00 97 /usr/lib/x86_64-linux-musl/libc.so";
    const LIBZ: &str = "7f700000-7f800000 r-xp 00000000 fe:00 96 /usr/lib/x86_64-linux-gnu/libz.so.1.2.13";

    fn maps(lines: &[&str]) -> Maps {
        let ours = ["/opt/a program".to_owned()];
        Maps::parse(lines.iter().copied(), &ours)
    }

    #[test]
    fn mappings_of_one_name_are_added_up() {
        let Maps(entries) = maps(&[PROGRAM, STACK, PROGRAM, HEAP]);
        let shown: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.mappings, e.bytes)).collect();
        let expected = [("/opt/a program", 2, 0x4000), ("[stack]", 1, 0x21000), (ANONYMOUS, 1, 0x2000)];
        assert_eq!(shown, expected);
    }

    #[test]
    fn anything_native_is_noticed() {
        assert!(maps(&[PROGRAM, STACK, HEAP]).require_only_ours().is_ok());
        for native in [GLIBC, OLD_GLIBC, MUSL, LIBZ] {
            assert!(maps(&[PROGRAM, native]).require_only_ours().is_err());
        }
        assert!(maps(&[]).require_only_ours().is_err());
    }

    #[test]
    fn just_the_right_libc_is_wanted() {
        let found = |lines: &[&str], is_it| {
            let maps = maps(lines);
            maps.require_one_libc(is_it).map(str::to_owned).ok()
        };
        let glibc = found(&[PROGRAM, LIBZ, GLIBC], is_libc);
        assert_eq!(glibc.as_deref(), Some("/usr/lib/x86_64-linux-gnu/libc.so.6"));
        assert!(found(&[OLD_GLIBC], is_libc).is_some());
        assert!(found(&[LIBZ], is_libc).is_none());
        assert!(found(&[MUSL], is_musl).is_some());
        assert!(found(&[GLIBC], is_musl).is_none());
        assert!(found(&[MUSL, GLIBC], is_musl).is_none());
    }
}
