//! Text for people: templates, and one small printer for all of them.
//!
//! `core::fmt` would be a tenth of the loader's code: a function for each type that can be printed, and code at each place
//! that builds the arguments. Here a text is a template and its arguments, [`words!`](crate::words) makes one, and
//! [`Text::write`] prints it. `core::fmt` is for tests and host tools alone, by `Display`.
#![forbid(unsafe_code)]

use core::fmt;

use crate::base::errno::Errno;

/// A receiver of text. The bytes are UTF-8, and may come in pieces.
pub trait Sink {
    /// Takes bytes.
    fn put(&mut self, bytes: &[u8]);
}

/// A value that can be written as text.
pub trait Text {
    /// Writes it.
    fn write(&self, to: &mut dyn Sink);
}

/// An argument of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// Bytes of a name, which are [escaped](Printable).
    Name(&'a [u8]),
    /// A number.
    Number(u64),
}

impl<'a> From<&'a [u8]> for Argument<'a> {
    fn from(name: &'a [u8]) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&&'a [u8]> for Argument<'a> {
    fn from(name: &&'a [u8]) -> Self {
        Self::Name(name)
    }
}

impl<'a> From<&'a str> for Argument<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name.as_bytes())
    }
}

impl From<Errno> for Argument<'_> {
    fn from(errno: Errno) -> Self {
        Self::Number(errno.0.unsigned_abs().into())
    }
}

impl From<u64> for Argument<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Argument<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<usize> for Argument<'_> {
    fn from(number: usize) -> Self {
        Self::Number(crate::base::addr::from_usize(number))
    }
}

/// A template with its arguments, in their order. In the template stand
///
/// | | |
/// |---|---|
/// | `{}` | for a name, or a number in decimal digits |
/// | `{x}` | for a number in hexadecimal digits, after `0x` |
/// | `{h}` | for a number in hexadecimal digits alone |
/// | `{p}` | for a number in sixteen hexadecimal digits, after `0x` |
/// | `{e}` | for the name of an error number |
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(pub &'static str, pub &'a [Argument<'a>]);

/// A [`Text`] of a template and its arguments: see [`Words`](crate::base::text::Words).
#[macro_export]
macro_rules! words {
    ($template:expr $(, $argument:expr)* $(,)?) => {
        &$crate::base::text::Words($template, &[$($crate::base::text::Argument::from($argument)),*])
    };
}

/// Writes a template with its arguments: see [`Words`](crate::base::text::Words).
#[macro_export]
macro_rules! put_words {
    ($to:expr, $template:expr $(, $argument:expr)* $(,)?) => {
        $crate::base::text::put($to, $template, &[$($crate::base::text::Argument::from($argument)),*])
    };
}

impl Text for Words<'_> {
    fn write(&self, to: &mut dyn Sink) {
        put(to, self.0, self.1);
    }
}

/// Writes a template with its arguments: see [`Words`].
#[inline(never)]
pub fn put(to: &mut dyn Sink, template: &'static str, arguments: &[Argument<'_>]) {
    let mut arguments = arguments.iter();
    let mut parts = template.as_bytes().split(|&byte| byte == b'{');
    to.put(parts.next().unwrap_or_default());
    for part in parts {
        let (form, text) = match part {
            [form @ (b'x' | b'h' | b'p' | b'e'), b'}', text @ ..] => (*form, text),
            [b'}', text @ ..] => (b'}', text),
            text => (b'}', text),
        };
        match arguments.next() {
            Some(&Argument::Name(name)) => Printable(name).write(to),
            Some(&Argument::Number(number)) => put_number(number, form, to),
            None => {}
        }
        to.put(text);
    }
}

/// A text about an object, after the object's name and a colon.
#[derive(Clone, Copy)]
pub struct Of<'a>(pub &'a [u8], pub &'a dyn Text);

impl Text for Of<'_> {
    fn write(&self, to: &mut dyn Sink) {
        put_words!(to, "{}: ", self.0);
        self.1.write(to);
    }
}

impl Text for Errno {
    fn write(&self, to: &mut dyn Sink) {
        put_number(self.0.unsigned_abs().into(), b'e', to);
    }
}

fn put_number(number: u64, form: u8, to: &mut dyn Sink) {
    if form == b'e' {
        if let Some(name) = Errno(i32::try_from(number).unwrap_or(0)).name() {
            return to.put(name.as_bytes());
        }
        to.put(b"errno ");
    }
    if matches!(form, b'x' | b'p') {
        to.put(b"0x");
    }
    let is_hex = matches!(form, b'x' | b'h' | b'p');
    let mut buffer = [b'0'; DIGITS];
    let digits = digits(number, if is_hex { 16 } else { 10 }, &mut buffer).len();
    let shown = if form == b'p' { 16 } else { digits };
    to.put(buffer.get(DIGITS.saturating_sub(shown)..).unwrap_or_default());
}

/// Largest number of digits of a number.
pub const DIGITS: usize = 20;

/// The digits of a number, at the end of `buffer`; the base is at most 16.
fn digits(number: u64, base: u64, buffer: &mut [u8; DIGITS]) -> &[u8] {
    let mut rest = number;
    let mut first = DIGITS;
    for (index, place) in buffer.iter_mut().enumerate().rev() {
        let [digit, ..] = rest.checked_rem(base).unwrap_or(0).to_le_bytes();
        *place = digit.wrapping_add(if digit < 10 { b'0' } else { b'a'.wrapping_sub(10) });
        first = index;
        rest = rest.checked_div(base).unwrap_or(0);
        if rest == 0 {
            break;
        }
    }
    buffer.get(first..).unwrap_or_default()
}

/// The decimal digits of a number that is to be part of a path, at the end of `buffer`.
#[must_use]
pub fn decimal(number: u32, buffer: &mut [u8; DIGITS]) -> &[u8] {
    digits(number.into(), 10, buffer)
}

/// Bytes of a name, escaped so that they can not drive a terminal: control characters, and what is not UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a [u8]);

impl Text for Printable<'_> {
    fn write(&self, to: &mut dyn Sink) {
        for chunk in self.0.utf8_chunks() {
            let mut rest = chunk.valid().as_bytes();
            loop {
                let is_control = |pair: &[u8]| control(pair).is_some();
                let plain = (0..rest.len()).find(|&index| rest.get(index..).is_some_and(is_control));
                let (text, from) = rest.split_at_checked(plain.unwrap_or(rest.len())).unwrap_or_default();
                to.put(text);
                let Some((code, length)) = control(from) else { break };
                match code {
                    b'\t' => to.put(b"\\t"),
                    b'\n' => to.put(b"\\n"),
                    b'\r' => to.put(b"\\r"),
                    code => {
                        to.put(b"\\u{");
                        put_number(code.into(), b'h', to);
                        to.put(b"}");
                    }
                }
                rest = from.get(length..).unwrap_or_default();
            }
            for &byte in chunk.invalid() {
                // No byte below 0x80 is invalid: two digits.
                to.put(b"\\x");
                put_number(byte.into(), b'h', to);
            }
        }
    }
}

/// The control character (Unicode category Cc) that UTF-8 text begins with, and how many bytes it has.
fn control(text: &[u8]) -> Option<(u8, usize)> {
    match *text {
        [code @ (..=0x1f | 0x7f), ..] => Some((code, 1)),
        [0xc2, code @ 0x80..=0x9f, ..] => Some((code, 2)),
        _ => None,
    }
}

/// Lets `Display` print a text.
pub(crate) struct Display<'f, 'b>(&'f mut fmt::Formatter<'b>, fmt::Result);

impl Sink for Display<'_, '_> {
    fn put(&mut self, bytes: &[u8]) {
        // Pieces end between characters: see the printer.
        let text = core::str::from_utf8(bytes).map_err(|_| fmt::Error);
        self.1 = self.1.and_then(|()| self.0.write_str(text?));
    }
}

/// Prints a text by `Display`.
///
/// # Errors
/// The error of the formatter.
pub(crate) fn display(text: &dyn Text, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut sink = Display(f, Ok(()));
    text.write(&mut sink);
    sink.1
}

/// Implements `Display` for types that are a [`Text`], for tests and host tools.
macro_rules! displayed {
    ($($type:ty),*) => {
        $(impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::base::text::display(self, f)
            }
        })*
    };
}
pub(crate) use displayed;

displayed!(Words<'_>, Printable<'_>, Errno);

#[cfg(test)]
mod tests {
    use super::{DIGITS, Printable, decimal};
    use std::string::ToString;

    #[test]
    fn every_form() {
        let name: &[u8] = b"x";
        assert_eq!(
            words!("{}: {} of {x}, {h}, {p}", name, 7u32, 255u64, 16usize, 1u64).to_string(),
            "x: 7 of 0xff, 10, 0x0000000000000001"
        );
        assert_eq!(
            words!("{e} {e} {x} {}", 2u32, 99u32, 0u32, u64::MAX).to_string(),
            "ENOENT errno 99 0x0 18446744073709551615"
        );
        assert_eq!(words!("nothing").to_string(), "nothing");
    }

    #[test]
    fn digits_of_any_number() {
        for number in [0, 7, 10, 1_000_000, u32::MAX] {
            assert_eq!(decimal(number, &mut [b'x'; DIGITS]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn names_can_not_drive_a_terminal() {
        assert_eq!(Printable(b"a\x1b[2J\n\xff\xc3\xa9").to_string(), "a\\u{1b}[2J\\n\\xff\u{e9}");
        assert_eq!(
            Printable(b"\t\r\x7f\xc2\x9f\xc2\xa0\xe2\x82").to_string(),
            "\\t\\r\\u{7f}\\u{9f}\u{a0}\\xe2\\x82"
        );
    }

    #[test]
    fn escaped_as_rust_escapes() {
        for code in 0..0x2_0000u32 {
            let Some(character) = char::from_u32(code) else { continue };
            let expected = match character.is_control() {
                true => character.escape_default().to_string(),
                false => character.to_string(),
            };
            assert_eq!(Printable(character.to_string().as_bytes()).to_string(), expected);
        }
    }
}
