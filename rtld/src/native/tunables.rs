//! The variable by which glibc's ld.so is given a setting while it starts.
#![forbid(unsafe_code)]

use libc_template::{STATIC_TLS_TUNABLE, TUNABLES, is_unsecure_variable};

use crate::base::arena::{Arena, OutOfMemory};

/// The variable that makes glibc's ld.so reserve room for the thread-local storage of libraries that are opened later,
/// NUL-terminated, and the index of the variable that it replaces in the block shown to ld.so: GLIBC_TUNABLES, whose
/// settings it keeps, or else one that ld.so does not read. `None` if GLIBC_TUNABLES sets that room already, or there
/// is no variable to replace.
///
/// # Errors
/// The arena has no memory left.
pub fn with_static_tls_room<'a, 'v>(
    arena: &'a Arena,
    mut variables: impl Iterator<Item = &'v [u8]> + Clone,
) -> Result<Option<(usize, &'a [u8])>, OutOfMemory> {
    let name = STATIC_TLS_TUNABLE.split_inclusive(|&byte| byte == b'=').next().unwrap_or_default();
    let tunables = |variable: &'v [u8]| variable.strip_prefix(TUNABLES);
    let asks = |text: &[u8]| text.split(|&byte| byte == b':').any(|one| one.starts_with(name));
    if variables.clone().filter_map(tunables).any(asks) {
        return Ok(None);
    }
    let set = variables.clone().position(|variable| tunables(variable).is_some());
    let Some(place) = set.or_else(|| variables.clone().position(|variable| !is_unsecure_variable(variable)))
    else {
        return Ok(None);
    };
    let others = variables.nth(place).and_then(tunables).unwrap_or_default();
    let separator: &[u8] = if others.is_empty() { b"" } else { b":" };
    let variable = arena.concat(&[TUNABLES, STATIC_TLS_TUNABLE, separator, others, b"\0"])?;
    Ok(Some((place, variable)))
}

#[cfg(test)]
mod tests {
    use super::with_static_tls_room;
    use crate::base::arena::Arena;

    use std::string::String;

    const ROOM: &str = "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=4608";

    fn shown(variables: &[&str]) -> Option<(usize, String)> {
        let arena = Arena::new(crate::os::testing::leaking());
        let (place, text) =
            with_static_tls_room(&arena, variables.iter().map(|variable| variable.as_bytes())).unwrap()?;
        Some((place, String::from_utf8(text.strip_suffix(b"\0").unwrap().to_vec()).unwrap()))
    }

    #[test]
    fn in_the_place_of_one_that_does_not_matter() {
        assert_eq!(shown(&["LD_BIND_NOW=1", "MALLOC_CHECK_=3", "A=b", "C=d"]), Some((2, ROOM.into())));
        assert_eq!(shown(&["LD_BIND_NOW=1"]), None);
        assert_eq!(shown(&[]), None);
    }

    #[test]
    fn beside_other_tunables() {
        let all = [ROOM, ":glibc.malloc.check=1"].concat();
        assert_eq!(shown(&["A=b", "GLIBC_TUNABLES=glibc.malloc.check=1"]), Some((1, all)));
        assert_eq!(shown(&["A=b", "GLIBC_TUNABLES="]), Some((1, ROOM.into())));
    }

    #[test]
    fn not_where_somebody_has_asked() {
        for asked in [
            "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=9",
            "GLIBC_TUNABLES=a=b:glibc.rtld.optional_static_tls=9",
        ] {
            assert_eq!(shown(&["A=b", asked]), None);
            assert_eq!(shown(&["A=b", "GLIBC_TUNABLES=x=y", asked]), None);
        }
        let other = "GLIBC_TUNABLES=glibc.rtld.optional_static_tls_of_mine=9";
        assert_eq!(shown(&["A=b", other]).map(|(place, _)| place), Some(1));
    }
}
