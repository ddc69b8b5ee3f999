//! The places of the files that are installed together with the loader.
#![forbid(unsafe_code)]

use abi::arch::NATIVE;
use abi::paths::LOADER_DIRECTORIES;

use crate::base::arena::{Arena, OutOfMemory};
use crate::link::search::directory;

/// The loader's own soname.
pub const SONAME: &[u8] = NATIVE.paths.soname.as_bytes();

/// The directory that stands for `/` in the loader's installation; empty if that is `/` itself or unknown. `loader` is
/// the path by which it was started, PT_INTERP or its own name, which the kernel has followed.
///
/// A relative path would mean another file once the program has changed its directory; and a `secure` process trusts no
/// path that its user may have chosen.
#[must_use]
pub fn prefix(loader: &[u8], secure: bool) -> &[u8] {
    if secure || loader.first() != Some(&b'/') {
        return b"";
    }
    let directory = directory(loader);
    LOADER_DIRECTORIES.iter().find_map(|known| directory.strip_suffix(known.as_bytes())).unwrap_or_default()
}

/// The path of a file of the loader's installation, NUL-terminated; `path` is its absolute path in an installation at
/// `/`.
///
/// # Errors
/// The arena has no memory left.
pub fn installed<'a>(arena: &'a Arena, loader: &[u8], secure: bool, path: &str) -> Result<&'a [u8], OutOfMemory> {
    arena.concat(&[prefix(loader, secure), path.as_bytes(), b"\0"])
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn prefix_of_the_loaders_path() {
        for (loader, expected) in [
            ("/lib/slulrtld-x86_64.so.1", ""),
            ("/usr/lib/slulrtld-x86_64.so.1", ""),
            ("/usr/bin/runslul", ""),
            ("/opt/stage/lib/slulrtld-x86_64.so.1", "/opt/stage"),
            ("/opt/stage/usr/lib/slulrtld-x86_64.so.1", "/opt/stage"),
            ("/opt/stage/usr/bin/runslul", "/opt/stage"),
            ("/home/user/mylib/slulrtld-x86_64.so.1", ""),
            ("/home/user/app/slulrtld-x86_64.so.1", ""),
            ("stage/lib/slulrtld-x86_64.so.1", ""),
            ("runslul", ""),
            ("", ""),
        ] {
            assert_eq!(prefix(loader.as_bytes(), false), expected.as_bytes(), "{loader}");
            assert_eq!(prefix(loader.as_bytes(), true), b"", "{loader}");
        }
    }
}
