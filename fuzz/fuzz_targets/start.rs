//! A whole start with two libraries, one file of which is broken: loaded, relocated and sealed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use tests::memory::property::{decode, of_start, scene};
use tests::memory::{Elf, sample};

/// The files that patches are applied to.
static SOUND: LazyLock<Vec<Elf>> = LazyLock::new(|| sample::all().into_iter().map(|(_, elf)| elf).collect());

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((role, bytes)) = decode(input, &SOUND) else { return Corpus::Reject };
    fuzz::with_arena(|arena| {
        let _ = of_start(&scene(role, &bytes, arena));
    });
    Corpus::Keep
});
