//! Where files are installed, and where libraries are searched for. Absolute paths; packages and staged trees put them
//! below another directory.

use crate::libcs::Libc;

/// Directories that hold a loader, below the one that stands for `/`: as installed, on systems where /lib is a link, and
/// of [`RUNSLUL`]. Those that end in others come first.
pub const LOADER_DIRECTORIES: [&str; 4] = ["/usr/lib", "/usr/bin", "/lib", "/bin"];

/// Libraries that are libc-free: searched first of the directories that are always searched.
pub const LIBRARIES: &str = "/lib/slul";

/// A link to the loader, to run it by name.
pub const RUNSLUL: &str = "/usr/bin/runslul";

/// Registers the loader with binfmt_misc.
pub const RUNSLUL_BINFMT: &str = "/usr/bin/runslul-binfmt";

/// The host tool.
pub const SLULBIN: &str = "/usr/bin/slulbin";

/// A link to the loader, for binfmt_misc: its name says what it is called with
/// ([`KEEPS_ARGV0`](crate::marker::KEEPS_ARGV0)).
pub const BINFMT_HANDLER: &str = "/usr/libexec/slul/slulrtld-binfmt-P";

/// Registration with binfmt_misc, for systemd-binfmt(8).
pub const BINFMT_SYSTEMD: &str = "/usr/lib/binfmt.d/slul.conf";

/// Registrations with binfmt_misc, for update-binfmts(8): the directory.
pub const BINFMT_DEBIAN: &str = "/usr/share/binfmts";

/// The loader inside a process of libc, of whichever libc is meant where nothing decides: a link.
pub const USING_LIBC: &str = "/usr/libexec/slul/slulrtld-using-libc";

/// The directory of [`HEADER`].
pub const INCLUDE: &str = "/usr/include";

/// The C interface.
pub const HEADER: &str = "/usr/include/slul.h";

/// Files with the name of a machine in theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfArch {
    /// The loader: what PT_INTERP names.
    pub loader: &'static str,
    /// The loader's file name, which is its soname.
    pub soname: &'static str,
    /// Objects to link with, and libc-free libraries.
    pub library_dir: &'static str,
    /// Where a library is searched for after everything else, as LD_LIBRARY_PATH would have it.
    pub search: &'static str,
    /// What programs link with for the loader's exports.
    pub link_stub: &'static str,
    /// The stub that executes the loader.
    pub rt0: &'static str,
    /// The stub that maps the loader.
    pub rt0_map: &'static str,
    /// The stub that carries a loader.
    pub rt0_embed: &'static str,
    /// What pkg-config(1) reads.
    pub pkgconfig: &'static str,
    /// The template that libc is brought in by, as a file.
    pub template: &'static str,
    /// The loader inside a process of libc, in the order of [`Libc::ALL`].
    pub(crate) using_libc: [&'static str; 2],
}

impl OfArch {
    /// The loader inside a process of that libc.
    #[must_use]
    pub const fn using_libc(&self, libc: Libc) -> &'static str {
        let [gnu, musl] = self.using_libc;
        match libc {
            Libc::Gnu => gnu,
            Libc::Musl => musl,
        }
    }
}

/// The files of the machine of that name.
macro_rules! of_arch {
    ($arch:literal) => {
        $crate::paths::OfArch {
            loader: concat!("/lib/slulrtld-", $arch, ".so.1"),
            soname: concat!("slulrtld-", $arch, ".so.1"),
            library_dir: concat!("/usr/lib/slul/", $arch),
            search: concat!("/lib/slul:/usr/lib/slul/", $arch),
            link_stub: concat!("/usr/lib/slul/", $arch, "/libslulrtld.so"),
            rt0: concat!("/usr/lib/slul/", $arch, "/rt0.o"),
            rt0_map: concat!("/usr/lib/slul/", $arch, "/rt0-map.o"),
            rt0_embed: concat!("/usr/lib/slul/", $arch, "/rt0-embed.o"),
            pkgconfig: concat!("/usr/lib/slul/", $arch, "/pkgconfig/slul.pc"),
            template: concat!("/usr/libexec/slul/libc-bogomapping-template-executable-", $arch),
            using_libc: [
                concat!("/usr/libexec/slul/slulrtld-using-libc-", $arch, "-gnu"),
                concat!("/usr/libexec/slul/slulrtld-using-libc-", $arch, "-musl"),
            ],
        }
    };
}

pub(crate) use of_arch;

/// A path as it is below the directory that stands for `/`.
#[must_use]
pub const fn in_tree(path: &str) -> &str {
    match path.as_bytes() {
        [b'/', ..] => path.split_at(1).1,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADER, INCLUDE, LIBRARIES, LOADER_DIRECTORIES, RUNSLUL, USING_LIBC, in_tree};
    use crate::arch::ALL;
    use crate::libcs::Libc;

    #[test]
    fn paths_agree_with_each_other() {
        for arch in &ALL {
            let paths = &arch.paths;
            let below = |path: &str, directory: &str| {
                path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
            };
            assert_eq!(paths.loader.strip_prefix("/lib/"), Some(paths.soname));
            for path in [paths.link_stub, paths.rt0, paths.rt0_map, paths.rt0_embed, paths.pkgconfig] {
                assert!(below(path, paths.library_dir), "{path}");
            }
            assert!(paths.search.split(':').eq([LIBRARIES, paths.library_dir]));
            for libc in Libc::ALL {
                let rest = paths.using_libc(libc).strip_prefix(USING_LIBC);
                let names = rest.and_then(|rest| rest.strip_prefix('-')?.split_once('-'));
                assert_eq!(names, Some((arch.name, libc.name())));
            }
            for path in [paths.loader, paths.template, paths.library_dir, paths.soname] {
                assert!(path.contains(arch.name), "{path}");
            }
            for path in [paths.loader, RUNSLUL] {
                assert!(LOADER_DIRECTORIES.iter().any(|directory| below(path, directory)), "{path}");
            }
            assert!(HEADER.starts_with(INCLUDE));
        }
    }

    #[test]
    fn longer_directories_come_first() {
        for (index, directory) in LOADER_DIRECTORIES.iter().enumerate() {
            assert!(!LOADER_DIRECTORIES[..index].iter().any(|earlier| directory.ends_with(earlier)));
        }
        assert_eq!((in_tree("/usr/bin"), in_tree("bin"), in_tree("/")), ("usr/bin", "bin", ""));
    }
}
