//! One file by itself: headers, plan, dynamic section, notes, versions, symbols, arrays.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use tests::memory::property::of_file;

fuzz_target!(|input: &[u8]| -> Corpus {
    fuzz::with_arena(|arena| {
        let _ = of_file(input, arena);
    });
    Corpus::Keep
});
