//! Requirements on `slulrtld-using-libc` for glibc: it starts with any glibc from 2.17 on, whichever it was linked with.

use super::image::Image;
use super::table::Row;

/// The oldest glibc with which it starts. It is the one that has getauxval(3) and is still in use.
const OLDEST: (u32, u32) = (2, 17);

/// The library in which dlopen(3) is before glibc 2.34.
const LIBDL: &str = "libdl.so.2";

/// All checks.
pub(crate) fn check(image: &Image) -> Vec<Row> {
    vec![versions(image), library(image)]
}

/// The versions of symbols that it needs.
fn versions(image: &Image) -> Row {
    let needed = image.versions_needed.iter();
    let newer = needed.filter(|version| number(version).is_none_or(|number| number > OLDEST));
    let newer: Vec<&str> = newer.map(String::as_str).collect();
    let newest = image.versions_needed.iter().filter_map(|version| number(version)).max().unwrap_or_default();
    Row::new("starts with glibc 2.17", format!("needs {}.{}", newest.0, newest.1))
        .require(!image.versions_needed.is_empty(), || "its symbols have no versions".to_owned())
        .require(newer.is_empty(), || format!("asks for {}", newer.join(", ")))
}

/// Numbers of a version of glibc: `GLIBC_2.3.4` is (2, 3), because the third has never told more than the second.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("GLIBC_")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn library(image: &Image) -> Row {
    Row::new("has the library of dlopen, too", image.needed.join(" "))
        .require(image.needed.iter().any(|name| name == LIBDL), || format!("does not need {LIBDL}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::elf;

    fn image(versions: &[&str]) -> Image {
        let versions_needed = versions.iter().map(|&version| version.to_owned()).collect();
        Image { versions_needed, ..elf::tests::good() }
    }

    #[test]
    fn old_versions_pass() {
        let row = versions(&image(&["GLIBC_2.2.5", "GLIBC_2.17", "GLIBC_2.3.4"]));
        assert_eq!((row.failure, row.figure), (None, "needs 2.17".to_owned()));
    }

    #[test]
    fn newer_and_unknown_versions_fail() {
        for version in ["GLIBC_2.18", "GLIBC_2.34", "GLIBC_3.0", "GLIBC_PRIVATE", "GLIBC_ABI_DT_RELR", "SLUL_1.0"]
        {
            assert!(versions(&image(&["GLIBC_2.2.5", version])).failure.is_some(), "{version}");
        }
        assert!(versions(&image(&[])).failure.is_some(), "a file without versions says nothing");
    }

    #[test]
    fn without_the_library_of_dlopen_it_fails() {
        let libc = vec!["libc.so.6".to_owned()];
        assert!(library(&Image { needed: libc.clone(), ..elf::tests::good() }).failure.is_some());
        let both = [libc, vec![LIBDL.to_owned()]].concat();
        assert_eq!(library(&Image { needed: both, ..elf::tests::good() }).failure, None);
    }
}
