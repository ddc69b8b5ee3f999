//! Output in place of running the program (`--list`, `--verify`, LD_TRACE_LOADED_OBJECTS, `LD_SLUL_DEBUG=help`), or
//! before it (LD_SHOW_AUXV). All of it goes to standard output, except the help of LD_SLUL_DEBUG.

use core::fmt::{self, Write as _};

use rtld::base::report::Category;
use rtld::error::{Errno, Error, Escaped, OfObject, Problem};
use rtld::link::load::Loaded;
use rtld::link::sealed::Sealed;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::{self, BorrowedFd};
use rtld::start::auxv;

use crate::run::cpu::calls;
use crate::run::kernel::{self, Block};
use crate::run::last_words::refuse;

/// Standard output or error, written in pieces of a buffer.
struct Output {
    to: BorrowedFd<'static>,
    name: &'static [u8],
    buffer: [u8; 1024],
    used: usize,
    result: Result<(), Errno>,
}

impl Output {
    fn new() -> Self {
        Self { to: sys::stdout(), name: b"standard output", buffer: [0; 1024], used: 0, result: Ok(()) }
    }

    fn flush(&mut self) {
        if self.result.is_ok() {
            self.result = sys::write_all(self.to, self.buffer.get(..self.used).unwrap_or_default());
        }
        self.used = 0;
    }

    /// Writes the rest of the buffer. Reports the first failure of any write.
    fn finish(mut self) -> Result<(), Error<'static>> {
        self.flush();
        self.result.map_err(Problem::Write).of(self.name)
    }

    /// Writes the rest and ends the process with status 0.
    fn end(self) -> ! {
        self.finish().unwrap_or_else(|error| refuse(&error));
        calls::exit_group(0)
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.buffer.len() {
                self.flush();
            }
            if let Some(place) = self.buffer.get_mut(self.used) {
                *place = byte;
            }
            self.used = self.used.saturating_add(1);
        }
        Ok(())
    }
}

/// Writes a line. The output keeps an error, and `finish` reports it.
macro_rules! line {
    ($output:expr, $($text:tt)*) => {
        let _ = writeln!($output, $($text)*);
    };
}

/// Prints a text and ends the process.
pub(crate) fn print(text: fmt::Arguments<'_>) -> ! {
    let mut output = Output::new();
    let _ = output.write_fmt(text);
    output.end()
}

/// Lists the loaded objects and the names that are left to libc, in the format of ldd(1), and ends the process.
pub(crate) fn list(loaded: &Loaded<'static, MappedImage>) -> ! {
    let mut output = Output::new();
    let libraries = loaded.namespace().loaded().skip(1);
    for (_, module) in libraries {
        let (name, path, bias) = (Escaped(module.soname), Escaped(module.path), module.image.bias().0);
        line!(output, "\t{name} => {path} ({bias:#018x})");
    }
    for name in loaded.natives().libraries.iter() {
        line!(output, "\t{} => native", Escaped(name));
    }
    if let Some((_, loader)) = loaded.namespace().all().last() {
        line!(output, "\t{} ({:#018x})", Escaped(loader.path), loader.image.bias().0);
    }
    output.end()
}

/// Reports that everything was loaded and relocated, and ends the process.
pub(crate) fn verified(sealed: &Sealed<'static, MappedImage>) -> ! {
    let program = Escaped(sealed.namespace.module(0).path);
    let libraries = sealed.namespace.loaded().count().saturating_sub(1);
    let (natives, symbols) = (sealed.natives.libraries.len(), sealed.natives.imports.len());
    let mut output = Output::new();
    line!(output, "{program}: ok: libraries: {libraries}, native libraries: {natives}, native symbols: {symbols}");
    output.end()
}

/// Prints the auxiliary vector.
pub(crate) fn show_auxv(block: &Block) -> Result<(), Error<'static>> {
    let mut output = Output::new();
    for pair in block.auxv().chunks_exact(2) {
        if let [key, value] = *pair {
            let _ = auxv::write_entry(&mut output, key, value, |address| Escaped(kernel::text(address)));
        }
    }
    output.finish()
}

/// Prints the subjects of LD_SLUL_DEBUG and ends the process, like glibc's `LD_DEBUG=help`.
pub(crate) fn debug_help() -> ! {
    let mut output = Output { to: sys::stderr(), name: b"standard error", ..Output::new() };
    line!(output, "LD_SLUL_DEBUG takes subjects, separated by commas:");
    for (word, category) in Category::ALL {
        line!(output, "  {:<10}{}", core::str::from_utf8(word).unwrap_or_default(), category.meaning());
    }
    line!(output, "  all       all of them");
    line!(output, "  help      this text, and nothing is run");
    line!(output, "LD_SLUL_DEBUG_OUTPUT=FILE writes to FILE.<process id> instead of standard error");
    output.end()
}
