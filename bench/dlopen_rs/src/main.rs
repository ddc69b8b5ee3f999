//! Loads the library that is its argument, with everything that it needs, and exits without unloading anything.

use dlopen_rs::{ElfLibrary, OpenFlags, Result};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_default();
    let _loaded = ElfLibrary::dlopen(path.as_str(), OpenFlags::RTLD_NOW | OpenFlags::RTLD_GLOBAL)?;
    std::process::exit(0);
}
