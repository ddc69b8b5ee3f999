//! Loads the library that is its argument, with everything that it needs, and exits without unloading anything.

use elf_loader::input::PathBuf;
use elf_loader::linker::SearchPathResolver;
use elf_loader::{LinkContext, Linker, Result};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_default();
    let mut resolver = SearchPathResolver::new();
    resolver.push_rpath();
    resolver.push_runpath();
    let mut context = LinkContext::for_process();
    let loaded =
        Linker::new().with_resolver(resolver).run().load(&mut context, PathBuf::from(path.as_str()))?;
    std::process::exit(if loaded.modules().len() > 1 { 0 } else { 1 });
}
