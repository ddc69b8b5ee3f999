//! ELF headers that no linker writes, in real files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use tests::damage::install;
use tests::launch::{Ending, Outcome};

use tests::start::Start;
use tests::tracer::{Begun, Tracee};
use tests::verdict::{Complaints, judge};
use tests::world::Case;

/// Positions in the file header.
const E_PHENTSIZE: usize = 54;
const E_PHNUM: usize = 56;

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const PT_TLS: u32 = 7;
const PT_GNU_STACK: u32 = 0x6474_e551;

/// Size of a program header.
const PHDR: usize = 56;

/// A change of a file's bytes.
type Fault = fn(&mut Vec<u8>) -> Option<()>;

/// Faults, by name.
const FAULTS: [(&str, Fault); 9] = [
    ("PN_XNUM", |file| put(file, E_PHNUM, &[0xff, 0xff])),
    ("no program headers", |file| put(file, E_PHNUM, &[0, 0])),
    ("program headers of one byte", |file| put(file, E_PHENTSIZE, &[1, 0])),
    ("two PT_DYNAMIC", |file| duplicate(file, PT_DYNAMIC)),
    ("two PT_TLS", |file| duplicate(file, PT_TLS)),
    ("PT_NOTE without end", |file| {
        let at = phdr(file, PT_NOTE)?;
        put(file, at + 32, &u64::MAX.to_le_bytes())?;
        put(file, at + 40, &u64::MAX.to_le_bytes())
    }),
    ("PT_INTERP without NUL", |file| {
        let at = phdr(file, PT_INTERP)?;
        let size = word(file, at + 32)? - 1;
        put(file, at + 32, &size.to_le_bytes())?;
        put(file, at + 40, &size.to_le_bytes())
    }),
    ("empty PT_INTERP", |file| {
        let at = phdr(file, PT_INTERP)?;
        put(file, at + 32, &0u64.to_le_bytes())
    }),
    ("entry outside", |file| put(file, 24, &0x7fff_0000u64.to_le_bytes())),
];

fn put(file: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    file.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}

fn word(file: &[u8], at: usize) -> Option<u64> {
    file.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// Position of the first program header of a type. Linkers put the table right after the file header.
fn phdr(file: &[u8], p_type: u32) -> Option<usize> {
    let count = usize::from(*file.get(E_PHNUM)?);
    (0..count).map(|number| 64 + number * PHDR).find(|&at| file.get(at..at + 4) == Some(&p_type.to_le_bytes()))
}

/// Turns PT_GNU_STACK into a second program header of a type.
fn duplicate(file: &mut [u8], p_type: u32) -> Option<()> {
    let (from, to) = (phdr(file, p_type)?, phdr(file, PT_GNU_STACK)?);
    let header = file.get(from..from + PHDR)?.to_vec();
    put(file, to, &header)
}

/// Puts a fault into a file; `false` if the file lacks the field for it.
fn break_file(path: &Path, fault: Fault) -> Result<bool> {
    let mut bytes = fs::read(path)?;
    if fault(&mut bytes).is_none() {
        return Ok(false);
    }
    let broken = path.with_extension("broken");
    fs::write(&broken, bytes)?;
    install(&broken, path)?;
    Ok(true)
}

/// Puts each fault into a file of the program and starts it: it is refused, or runs if the fault does not matter.
fn each(case: Case<'_>, file: &str, start: impl Fn(Case<'_>, &Path) -> Start) -> Result<()> {
    let mut complaints = Complaints::default();
    let mut judged = 0;
    for (name, fault) in FAULTS {
        let (workdir, program) = case.copy("whole/sound")?;
        if !break_file(&workdir.path().join(file), fault).context(name)? {
            continue;
        }
        // The kernel refuses some programs itself.
        let Begun::Stopped(tracee) = Tracee::try_start(&start(case, &program))? else { continue };
        let (outcome, place) = tracee.finish_where()?;
        if name == "entry outside" && place == "nothing" && outcome.ending == Ending::Signal(11) {
            // The program itself crashed, after the loader's work.
            continue;
        }
        judged += 1;
        complaints.note(format!("{name}, at {place}"), judge(&outcome, "library\nprogram\n", &[""]));
    }
    complaints.verdict()?;
    ensure!(judged > 1, "the loader got to see {judged} files");
    Ok(())
}

/// Damaged headers of a library.
pub(crate) fn library(case: Case<'_>) -> Result<()> {
    each(case, "libone.so", |case, program| Start::new(program, case.user))
}

/// Damaged headers of a program that the kernel maps.
pub(crate) fn program(case: Case<'_>) -> Result<()> {
    each(case, "whole", |case, program| Start::new(program, case.user))
}

/// Damaged headers of a program that the loader maps.
pub(crate) fn direct_program(case: Case<'_>) -> Result<()> {
    each(case, "whole", |case: Case<'_>, program| case.direct(program))
}

/// Damaged headers of a program that rt0 hands over.
pub(crate) fn handed_program(case: Case<'_>) -> Result<()> {
    each(case, "whole", |case: Case<'_>, program| case.handed(program))
}

/// Each entry of the dynamic section of a program whose start is deferred has other values: the program ends as it does after a
/// full start, with the same output.
pub(crate) fn deferred_program(case: Case<'_>) -> Result<()> {
    /// Values that no table has, and some that one may have.
    const VALUES: [u64; 7] = [0, 1, 8, 0x1000, 1 << 40, u64::MAX - 7, u64::MAX];
    /// Size of an entry of the dynamic section.
    const ENTRY: usize = 16;
    let (workdir, program) = case.copy("deferred")?;
    let sound = fs::read(&program)?;
    let header = phdr(&sound, PT_DYNAMIC).context("no PT_DYNAMIC")?;
    let field = |at| word(&sound, at).and_then(|value| usize::try_from(value).ok()).context("a field outside");
    let (section, size) = (field(header + 8)?, field(header + 32)?);
    let entries = (section..section + size).step_by(ENTRY).take_while(|&at| word(&sound, at) != Some(0));
    let mut complaints = Complaints::default();
    let (mut worked, mut refused) = (0, 0);
    for entry in entries {
        let tag = word(&sound, entry).context("an entry outside")?;
        for value in VALUES {
            let mut bytes = sound.clone();
            put(&mut bytes, entry + 8, &value.to_le_bytes()).context("an entry outside")?;
            let broken = workdir.path().join("broken");
            fs::write(&broken, bytes)?;
            install(&broken, &program)?;
            let start = || Start::new(&program, case.user).env("GREETING=hello");
            let (deferred, full) = (start().run()?, start().env("LD_SLUL_DEBUG=0").run()?);
            worked += u32::from(full.ending == Ending::Exit(17));
            refused += u32::from(full.stderr.starts_with("slulrtld: "));
            let same = |one: &Outcome, other: &Outcome| {
                one.ending == other.ending && one.stdout == other.stdout && one.stderr == other.stderr
            };
            complaints.note(
                format!("tag {tag:#x}, value {value:#x}"),
                if same(&deferred, &full) {
                    Ok(())
                } else {
                    Err(anyhow!("{}{}", deferred.shown("deferred"), full.shown("full")))
                },
            );
        }
    }
    complaints.verdict()?;
    ensure!(worked > 10 && refused > 10, "{worked} programs worked, {refused} were refused");
    Ok(())
}

/// The loader as a library of itself, and as its own program.
pub(crate) fn loader_itself(case: Case<'_>) -> Result<()> {
    let (_workdir, program) = case.copy("whole/sound")?;
    let library = program.with_file_name("libone.so");
    fs::remove_file(&library)?;
    install(&case.world.stage.loader(), &library)?;
    judge(&Start::new(&program, case.user).run()?, "never", &[""]).context("as a library")?;
    judge(&case.direct(&case.world.stage.loader()).run()?, "never", &[""]).context("as a program")?;
    Ok(())
}
