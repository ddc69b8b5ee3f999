//! Size of the loader's memory functions.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};

use super::image::Image;
use super::table::Row;

/// Most bytes of machine code for all of them together.
const LIMIT: u64 = 2048;

/// The memory functions. One with two names counts once.
const FUNCTIONS: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"];

/// Checks a loader that has its symbols.
pub(crate) fn check(image: &Image) -> Row {
    const NAME: &str = "memory functions, text";
    match text(image) {
        Err(error) => Row::new(NAME, "-").require(false, || error.to_string()),
        Ok(text) => Row::new(NAME, format!("{text} of {LIMIT} bytes"))
            .require(text <= LIMIT, || format!("{} bytes too many", text - LIMIT)),
    }
}

/// Whether texts are printed by the loader's own printer (`base/text.rs`) alone: `core::fmt` takes a tenth of its code.
pub(crate) fn formatting(image: &Image) -> Row {
    // Of the module itself, and of implementations of its traits, as both ways of mangling have it.
    let is_formatting = |name: &str| name.contains("4core3fmt") || name.contains("core..fmt..");
    let names = image.functions.iter().map(|function| function.name.as_str()).filter(|name| is_formatting(name));
    let found: Vec<&str> = names.collect();
    Row::new("no core::fmt", found.len()).require(found.is_empty(), || found.join(", "))
}

/// Bytes of machine code of the memory functions in a loader's file.
pub(crate) fn text_of(unstripped: &Path) -> Result<u64> {
    text(&Image::read(unstripped)?)
}

/// Bytes of machine code of the memory functions.
fn text(image: &Image) -> Result<u64> {
    let mut sizes = BTreeMap::new();
    for name in FUNCTIONS {
        let function = image.function(name)?;
        ensure!(!function.code.is_empty(), "{name} has no code");
        sizes.insert(function.address, function.code.len() as u64);
    }
    Ok(sizes.values().sum())
}

#[cfg(test)]
mod tests {
    use super::super::image::Function;
    use super::*;

    /// An image whose functions have that size each, two of them in one place.
    fn image(size: u64) -> Image {
        let mut image = super::super::elf::tests::good();
        image.functions = (0..)
            .zip(FUNCTIONS)
            .map(|(number, name)| Function {
                name: name.to_owned(),
                address: if name == "bcmp" { 0x3000 } else { number * 0x1000 },
                code: vec![0xc3; usize::try_from(size).unwrap()],
            })
            .collect();
        image
    }

    #[test]
    fn one_function_with_two_names_counts_once() {
        assert_eq!(text(&image(LIMIT / 5)).unwrap(), LIMIT / 5 * 5);
        assert!(check(&image(LIMIT / 5)).failure.is_none());
    }

    #[test]
    fn formatting_fails() {
        assert!(formatting(&image(1)).failure.is_none());
        for name in ["_ZN4core3fmt5write17h0E", "_ZN38_$LT$u8$u20$as$u20$core..fmt..Debug$GT$3fmt17h0E"] {
            let mut image = image(1);
            image.functions.push(Function { name: name.to_owned(), address: 0, code: vec![] });
            assert!(formatting(&image).failure.is_some());
        }
    }

    #[test]
    fn too_much_or_nothing_fails() {
        assert!(check(&image(LIMIT / 5 + 1)).failure.is_some());
        assert!(check(&image(0)).failure.is_some());
        assert!(check(&super::super::elf::tests::good()).failure.is_some());
    }
}
