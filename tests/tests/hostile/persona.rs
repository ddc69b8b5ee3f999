//! Address spaces with another layout (personality(2)).

use anyhow::Result;
use nix::sys::personality::Persona;

use tests::verdict::{Complaints, runs};
use tests::world::Case;

/// Each flag by itself, and the flags of layout together.
fn personas() -> Vec<Persona> {
    let layout = Persona::ADDR_NO_RANDOMIZE | Persona::ADDR_COMPAT_LAYOUT | Persona::READ_IMPLIES_EXEC;
    vec![
        Persona::ADDR_NO_RANDOMIZE,
        Persona::ADDR_COMPAT_LAYOUT,
        Persona::READ_IMPLIES_EXEC,
        Persona::MMAP_PAGE_ZERO,
        Persona::ADDR_LIMIT_32BIT,
        Persona::ADDR_LIMIT_3GB,
        Persona::STICKY_TIMEOUTS,
        layout,
        layout | Persona::MMAP_PAGE_ZERO,
    ]
}

/// Every program runs under each personality.
pub(crate) fn each(case: Case<'_>) -> Result<()> {
    let mut complaints = Complaints::default();
    for persona in personas() {
        for (name, arguments, output) in [
            ("report/plain", &["nothing"][..], ""),
            ("whole/sound", &[], "library\nprogram\n"),
            ("native/gnu", &[], "before\nafter\n"),
            ("native/gnu", &["read-implies-exec"], "before\nafter\n"),
            ("native/gnu", &["no-new-code"], "before\nafter\n"),
        ] {
            let start = arguments.iter().fold(case.start(name)?, |start, argument| start.arg(*argument));
            let outcome = start.persona(persona).run()?;
            complaints.note(format!("{name} {arguments:?} under {persona:?}"), runs(&outcome, output));
        }
    }
    complaints.verdict()
}
