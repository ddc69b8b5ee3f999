//! The auxiliary vector as text, in the format of glibc's LD_SHOW_AUXV.
#![forbid(unsafe_code)]

use crate::base::text::Sink;
use crate::put_words;
use crate::start::handoff::auxvec;

/// Format of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Decimal,
    /// Hexadecimal without `0x`.
    Bits,
    Address,
    /// The address of a string.
    Text,
}

/// Names and formats. Entries that are not here are printed by their number.
const KNOWN: [(u32, &str, Form); 24] = [
    (auxvec::AT_EXECFD, "AT_EXECFD", Form::Decimal),
    (auxvec::AT_PHDR, "AT_PHDR", Form::Address),
    (auxvec::AT_PHENT, "AT_PHENT", Form::Decimal),
    (auxvec::AT_PHNUM, "AT_PHNUM", Form::Decimal),
    (auxvec::AT_PAGESZ, "AT_PAGESZ", Form::Decimal),
    (auxvec::AT_BASE, "AT_BASE", Form::Address),
    (auxvec::AT_FLAGS, "AT_FLAGS", Form::Address),
    (auxvec::AT_ENTRY, "AT_ENTRY", Form::Address),
    (auxvec::AT_NOTELF, "AT_NOTELF", Form::Bits),
    (auxvec::AT_UID, "AT_UID", Form::Decimal),
    (auxvec::AT_EUID, "AT_EUID", Form::Decimal),
    (auxvec::AT_GID, "AT_GID", Form::Decimal),
    (auxvec::AT_EGID, "AT_EGID", Form::Decimal),
    (auxvec::AT_PLATFORM, "AT_PLATFORM", Form::Text),
    (auxvec::AT_HWCAP, "AT_HWCAP", Form::Bits),
    (auxvec::AT_CLKTCK, "AT_CLKTCK", Form::Decimal),
    (auxvec::AT_SECURE, "AT_SECURE", Form::Decimal),
    (auxvec::AT_BASE_PLATFORM, "AT_BASE_PLATFORM", Form::Text),
    (auxvec::AT_RANDOM, "AT_RANDOM", Form::Address),
    (auxvec::AT_HWCAP2, "AT_HWCAP2", Form::Address),
    (auxvec::AT_EXECFN, "AT_EXECFN", Form::Text),
    (auxvec::AT_SYSINFO_EHDR, "AT_SYSINFO_EHDR", Form::Address),
    (auxvec::AT_MINSIGSTKSZ, "AT_MINSIGSTKSZ", Form::Decimal),
    (auxvec::AT_HWCAP3, "AT_HWCAP3", Form::Address),
];

/// Writes one entry as a line; `text` returns the string at an address. AT_NULL and AT_IGNORE are left out.
pub fn write_entry<'s>(output: &mut dyn Sink, key: u64, value: u64, text: impl FnOnce(u64) -> &'s [u8]) {
    if key <= u64::from(auxvec::AT_IGNORE) {
        return;
    }
    let Some((_, name, form)) = KNOWN.iter().find(|(known, ..)| u64::from(*known) == key) else {
        return put_words!(output, "AT_??? ({x}): {x}\n", key, value);
    };
    // The values begin in one column, after the name and its colon.
    let gap = SPACES.get(name.len()..).unwrap_or_default();
    put_words!(output, "{}:{}", *name, gap);
    match form {
        Form::Decimal => put_words!(output, "{}\n", value),
        Form::Bits => put_words!(output, "{h}\n", value),
        Form::Address => put_words!(output, "{x}\n", value),
        Form::Text => put_words!(output, "{}\n", text(value)),
    }
}

/// Padding between a name and its value: as wide as the longest name.
const SPACES: &str = "                     ";

#[cfg(test)]
mod tests {
    use super::write_entry;
    use crate::base::text::Sink;
    use std::string::String;
    use std::vec::Vec;

    fn line(key: u64, value: u64) -> String {
        struct Written(Vec<u8>);
        impl Sink for Written {
            fn put(&mut self, bytes: &[u8]) {
                self.0.extend_from_slice(bytes);
            }
        }
        let mut line = Written(Vec::new());
        write_entry(&mut line, key, value, |_| b"x\x1by");
        String::from_utf8(line.0).unwrap()
    }

    #[test]
    fn as_glibc_has_them() {
        assert_eq!(line(33, 0x7000), "AT_SYSINFO_EHDR:      0x7000\n");
        assert_eq!(line(6, 4096), "AT_PAGESZ:            4096\n");
        assert_eq!(line(16, 0xab), "AT_HWCAP:             ab\n");
        assert_eq!(line(0x1b, 0x1c), "AT_??? (0x1b): 0x1c\n");
        assert_eq!(line(31, 1), "AT_EXECFN:            x\\u{1b}y\n");
        assert_eq!(line(1, 5), "");
    }
}
