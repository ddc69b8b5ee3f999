//! Output in place of running the program (`--list`, `--verify`, LD_TRACE_LOADED_OBJECTS, `LD_SLUL_DEBUG=help`), or
//! before it (LD_SHOW_AUXV). All of it goes to standard output, except the help of LD_SLUL_DEBUG.

use rtld::base::arena::List;
use rtld::base::report::Category;
use rtld::base::text::{Sink, Text};
use rtld::error::{Errno, Error, OfObject, Problem};
use rtld::link::load::Loaded;
use rtld::link::sealed::Sealed;
use rtld::os::mapped::MappedImage;
use rtld::os::seam::Image;
use rtld::os::sys::{self, BorrowedFd};
use rtld::put_words;
use rtld::start::auxv;

use crate::run::cpu::calls;
use crate::run::kernel::{self, Block};
use crate::run::last_words::refuse;
use crate::run::native::missing::{Start, first};
use crate::run::sync::without_size_signal;

/// Standard output or error, written in pieces of a buffer.
struct Output {
    to: BorrowedFd<'static>,
    name: &'static [u8],
    buffer: [u8; 1024],
    used: usize,
    result: Result<(), Errno>,
}

impl Output {
    #[inline(never)]
    fn new() -> Self {
        Self { to: sys::stdout(), name: b"standard output", buffer: [0; 1024], used: 0, result: Ok(()) }
    }

    fn flush(&mut self) {
        if self.result.is_ok() {
            let bytes = self.buffer.get(..self.used).unwrap_or_default();
            self.result = without_size_signal(|| sys::write_all(self.to, bytes));
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

impl Sink for Output {
    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.used == self.buffer.len() {
                self.flush();
            }
            if let Some(place) = self.buffer.get_mut(self.used) {
                *place = byte;
            }
            self.used = self.used.wrapping_add(1);
        }
    }
}

/// Prints a text and ends the process.
pub(crate) fn print(text: &str) -> ! {
    let mut output = Output::new();
    output.put(text.as_bytes());
    output.end()
}

/// Lists the loaded objects and the names that are left to libc, in the format of ldd(1), and ends the process.
pub(crate) fn list(loaded: &Loaded<'static, MappedImage>, start: &Start<'_>) -> ! {
    let mut output = Output::new();
    // Without a libc, nothing is looked for.
    let faults =
        start.faults_of_chosen((loaded.namespace(), loaded.natives())).unwrap_or_else(|_| List::new(start.arena));
    let is_missing = |name: &[u8]| faults.iter().any(|fault| fault.object == name);
    let libraries = loaded.namespace().loaded().skip(1);
    for (_, module) in libraries {
        put_words!(&mut output, "\t{} => {} ({p})\n", module.soname, module.path, module.image.bias().0);
    }
    for name in loaded.natives().libraries.iter().filter(|name| !is_missing(name)) {
        put_words!(&mut output, "\t{} => native\n", *name);
    }
    for fault in faults.iter() {
        put_words!(&mut output, "\t{} => ", fault.object);
        match fault.problem {
            Problem::NativeLibrary { needer, tried } => {
                put_words!(&mut output, "not found; {} needs it; tried {}\n", needer, tried);
            }
            problem => {
                problem.write(&mut output);
                output.put(b"\n");
            }
        }
    }
    if let Some((_, loader)) = loaded.namespace().all().last() {
        put_words!(&mut output, "\t{} ({p})\n", loader.path, loader.image.bias().0);
    }
    output.end()
}

/// Reports that everything was loaded and relocated, and ends the process.
///
/// # Errors
/// A native library is missing or broken; there is no libc for those that there are.
pub(crate) fn verified(sealed: &Sealed<'static, MappedImage>, start: &Start<'_>) -> Result<(), Error<'static>> {
    first(&start.faults_of_chosen((&sealed.namespace, &sealed.natives))?)?;
    let program = sealed.namespace.module(0).path;
    let libraries = sealed.namespace.loaded().count().saturating_sub(1);
    let (natives, symbols) = (sealed.natives.libraries.len(), sealed.natives.imports.len());
    let mut output = Output::new();
    put_words!(
        &mut output,
        "{}: ok: libraries: {}, native libraries: {}, native symbols: {}\n",
        program,
        libraries,
        natives,
        symbols
    );
    output.end()
}

/// Prints the auxiliary vector.
pub(crate) fn show_auxv(block: &Block) -> Result<(), Error<'static>> {
    let mut output = Output::new();
    for pair in block.auxv().chunks_exact(2) {
        if let [key, value] = *pair {
            auxv::write_entry(&mut output, key, value, kernel::text);
        }
    }
    output.finish()
}

/// Prints the subjects of LD_SLUL_DEBUG and ends the process, like glibc's `LD_DEBUG=help`.
pub(crate) fn debug_help() -> ! {
    let mut output = Output { to: sys::stderr(), name: b"standard error", ..Output::new() };
    output.put(b"LD_SLUL_DEBUG takes subjects, separated by commas:\n");
    for (word, category) in Category::ALL {
        // The meanings begin in one column.
        let gap = "          ".get(word.len()..).unwrap_or_default();
        put_words!(&mut output, "  {}{}{}\n", word, gap, category.meaning());
    }
    output.put(b"  all       all of them\n");
    output.put(b"  help      this text, and nothing is run\n");
    output.put(b"LD_SLUL_DEBUG_OUTPUT=FILE writes to FILE.<process id> instead of standard error\n");
    output.end()
}
