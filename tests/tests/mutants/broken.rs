//! Faults that mutants have found, each by itself: the loader refuses the file before any code of the program runs.

use libtest_mimic::{Failed, Trial};
use rtld::elf::consts;
use tests::stage::Stage;

use crate::figures::Figures;
use crate::objects::Which;
use crate::real::Ground;

/// A fault, and the file that has it.
type Case = (&'static str, Which, fn(&mut Patch));

/// Not a canonical address (sign-extended from bit 47), with any load bias.
const NO_ADDRESS: u64 = 0x7000_0000_0000_0000;

/// Within two GiB of the object, and not mapped.
const NOTHING_THERE: u64 = 0x4000_0000;

/// Beyond the end of any file.
const BEYOND: u64 = 0x40_0000_0000;

/// Address of a segment of zeros.
const ZEROS: u64 = 0x10_0000;

/// Its size in bytes: 48 GiB, a multiple of every table's entry.
const ZEROS_SIZE: u64 = 24 << 31;

const CASES: [Case; 17] = [
    ("data_beyond_the_end", Which::Executable, |patch| patch.phdr(consts::PT_LOAD, 1, 8, BEYOND + 0xda0)),
    ("headers_beyond_the_end", Which::Executable, |patch| patch.phdr(consts::PT_LOAD, 0, 8, BEYOND)),
    ("headers_not_loaded", Which::Executable, |patch| patch.phdr(consts::PT_LOAD, 0, 0, 5 << 32)),
    ("entry_is_no_code", Which::Executable, |patch| patch.put(24, patch.no_code())),
    ("entry_is_no_address", Which::Executable, |patch| patch.put(24, NO_ADDRESS)),
    ("initialiser_is_no_address", Which::Library, |patch| patch.array(consts::DT_INIT_ARRAY, NO_ADDRESS)),
    ("initialiser_is_not_mapped", Which::Library, |patch| patch.array(consts::DT_INIT_ARRAY, NOTHING_THERE)),
    ("initialiser_is_no_code", Which::Library, |patch| patch.array(consts::DT_INIT_ARRAY, patch.no_code())),
    ("initialiser_of_the_program", Which::Executable, |patch| patch.array(consts::DT_INIT_ARRAY, patch.no_code())),
    ("finaliser_is_no_address", Which::Library, |patch| patch.array(consts::DT_FINI_ARRAY, NO_ADDRESS)),
    ("init_is_no_code", Which::Library, |patch| patch.entry(consts::DT_SONAME, consts::DT_INIT, patch.no_code())),
    ("fini_is_no_address", Which::Library, |patch| patch.entry(consts::DT_SONAME, consts::DT_FINI, NO_ADDRESS)),
    ("resolver_is_no_code", Which::Library, Patch::resolver),
    ("endless_relocations", Which::Library, |patch| patch.endless(consts::DT_RELA, consts::DT_RELASZ)),
    ("endless_initialisers", Which::Library, |patch| {
        patch.endless(consts::DT_INIT_ARRAY, consts::DT_INIT_ARRAYSZ)
    }),
    ("endless_note", Which::Library, Patch::endless_note),
    ("endless_chain", Which::Library, Patch::endless_chain),
];

/// A test for each fault and loader.
pub(crate) fn trials(stages: &[Stage]) -> Vec<Trial> {
    let trial = |stage: &Stage, (name, which, fault): Case| {
        let loader = stage.loader();
        let run = move || -> Result<(), Failed> {
            let ground = Ground::new(Some(&loader))?;
            let mut patch = Patch { bytes: ground.objects.of(which).bytes.clone() };
            fault(&mut patch);
            let mut figures = Figures::default();
            let run = ground.run(which, &patch.bytes)?;
            figures.take_in(name, &run);
            let refused = figures.refused == 1;
            refused.then_some(()).ok_or_else(|| format!("{figures}\n{run:?}").into())
        };
        Trial::test(format!("broken/{name}/{}", stage.profile), run)
    };
    stages.iter().flat_map(|stage| CASES.map(|case| trial(stage, case))).collect()
}

/// A file to be broken.
struct Patch {
    bytes: Vec<u8>,
}

impl Patch {
    fn put(&mut self, at: u64, value: u64) {
        let at = usize::try_from(at).unwrap();
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn word(&self, at: u64) -> u64 {
        let at = usize::try_from(at).unwrap();
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    /// Position of the program header with number `number` (from 0) of those of a type.
    fn find(&self, kind: u32, number: usize) -> u64 {
        let all = (64..).step_by(56).take(usize::from(self.bytes[56]));
        let mut found = all.filter(|&at| self.word(at) & 0xffff_ffff == u64::from(kind));
        found.nth(number).unwrap()
    }

    /// Overwrites a word of a program header.
    fn phdr(&mut self, kind: u32, number: usize, field: u64, value: u64) {
        self.put(self.find(kind, number) + field, value);
    }

    /// An address in the object that no executable segment holds.
    fn no_code(&self) -> u64 {
        self.word(self.find(consts::PT_DYNAMIC, 0) + 16)
    }

    /// Position of the byte at an address.
    fn offset(&self, vaddr: u64) -> u64 {
        let holds = |at: &u64| self.word(at + 16) <= vaddr && vaddr < self.word(at + 16) + self.word(at + 32);
        let load = (0..2).map(|number| self.find(consts::PT_LOAD, number)).find(holds).unwrap();
        vaddr - self.word(load + 16) + self.word(load + 8)
    }

    /// Position of an entry of PT_DYNAMIC.
    fn dynamic(&self, tag: u64) -> u64 {
        let start = self.word(self.find(consts::PT_DYNAMIC, 0) + 8);
        (start..).step_by(16).find(|&at| self.word(at) == tag).unwrap()
    }

    /// Overwrites an entry of PT_DYNAMIC that the program can do without: tag and value.
    fn entry(&mut self, tag: u64, other: u64, value: u64) {
        let at = self.dynamic(tag);
        self.put(at, other);
        self.put(at + 8, value);
    }

    /// Overwrites the first word of the array that an entry of PT_DYNAMIC points to. A relocation adds the load bias.
    fn array(&mut self, tag: u64, value: u64) {
        let at = self.offset(self.word(self.dynamic(tag) + 8));
        self.put(at, value);
    }

    /// Overwrites the address of the IFUNC resolver.
    fn resolver(&mut self) {
        const STT_GNU_IFUNC: u64 = 10;
        let table = self.offset(self.word(self.dynamic(consts::DT_SYMTAB) + 8));
        let is_resolver = |at: &u64| self.word(*at) >> 32 & 0xf == STT_GNU_IFUNC;
        let at = (table..).step_by(24).find(is_resolver).unwrap();
        self.put(at + 8, self.no_code());
    }

    /// Adds a segment of zeros, [`ZEROS_SIZE`] bytes at [`ZEROS`]. It has no bytes in the file, and untouched memory
    /// costs nothing.
    fn zeros(&mut self) {
        // PT_GNU_STACK is not needed. Segments have to ascend.
        let stack = self.find(consts::PT_GNU_STACK, 0);
        assert!(stack > self.find(consts::PT_LOAD, 1));
        let header = [u64::from(consts::PT_LOAD) | 4 << 32, 0, ZEROS, ZEROS, 0, ZEROS_SIZE, 0x1000];
        header.iter().zip((stack..).step_by(8)).for_each(|(&word, at)| self.put(at, word));
    }

    /// Makes the zeros a table.
    fn endless(&mut self, tag: u64, size_tag: u64) {
        self.zeros();
        self.entry(tag, tag, ZEROS);
        self.entry(size_tag, size_tag, ZEROS_SIZE);
    }

    /// Makes the zeros a note segment.
    fn endless_note(&mut self) {
        self.zeros();
        // Any program header after the PT_LOADs.
        let relro = self.find(consts::PT_GNU_RELRO, 0);
        let header = [u64::from(consts::PT_NOTE) | 4 << 32, 0, ZEROS, ZEROS, ZEROS_SIZE, ZEROS_SIZE, 4];
        header.iter().zip((relro..).step_by(8)).for_each(|(&word, at)| self.put(at, word));
    }

    /// Makes a chain of DT_GNU_HASH continue in the zeros, where no entry ends a chain.
    fn endless_chain(&mut self) {
        self.zeros();
        let vaddr = self.word(self.dynamic(consts::DT_GNU_HASH) + 8);
        let chains = vaddr + 16 + 8 + 4;
        // One bucket, and a filter of one word with all bits set.
        let table = [1, 1, 1, 6, u32::MAX, u32::MAX, u32::try_from((ZEROS - chains) / 4 + 1).unwrap()];
        let at = usize::try_from(self.offset(vaddr)).unwrap();
        let table = table.map(u32::to_le_bytes).concat();
        self.bytes[at..at + table.len()].copy_from_slice(&table);
    }
}
