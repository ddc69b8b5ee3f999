//! The machine code that runs before the loader has relocated itself: the plain start, and the bootstrap.
//!
//! Such code must not use words that self-relocation has still to change. A compiler may break this at any time (a
//! panic path, a call of `memcpy`), so the audit disassembles the built code.

use std::ops::Range;

use anyhow::Result;
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Formatter, Instruction, InstructionInfoFactory, IntelFormatter,
    Mnemonic, OpAccess, OpKind, Register,
};

use super::image::{Function, Image};
use super::table::Row;

/// Permissions of one function beyond arithmetic.
#[derive(Clone, Copy)]
struct Rules {
    /// The row's title.
    title: &'static str,
    function: &'static str,
    /// The functions outside itself that it may call or jump to, directly.
    may_call: &'static [&'static str],
    /// Whether it may make system calls.
    system_calls: bool,
    /// Whether it may leave by a jump to an address in a register.
    register_jumps: bool,
    /// What it may do with the loader's variables.
    variables: Variables,
}

/// What a function may do with the loader's own variables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variables {
    /// Nothing but read them.
    Read,
    /// Tell others where they are, too.
    Name,
    /// Write to them, having made them writable.
    Write,
}

const EARLY: [Rules; 16] = [
    Rules {
        title: "code of _start",
        function: "_start",
        may_call: &[
            "slul_plain_start",
            "slul_plain_call",
            "slul_deferred_start",
            "slul_enter_deferred",
            "slul_unsealed",
            "slul_plain_handed",
            "slul_relocate_self",
            "slul_main",
        ],
        system_calls: false,
        // It jumps to the program's entry.
        register_jumps: true,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_plain_start",
        function: "slul_plain_start",
        may_call: &["slul_plain_program", "slul_early_walk"],
        system_calls: false,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_plain_program",
        function: "slul_plain_program",
        may_call: &["slul_early_note"],
        system_calls: false,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_plain_handed",
        function: "slul_plain_handed",
        may_call: &["slul_plain_program", "slul_early_walk", "_dl_debug_state"],
        system_calls: true,
        register_jumps: false,
        variables: Variables::Write,
    },
    Rules {
        title: "code of slul_deferred_start",
        function: "slul_deferred_start",
        may_call: &[
            "slul_early_walk",
            "slul_early_note",
            "slul_early_after",
            "slul_early_absolute",
            "slul_early_segment",
            "slul_own_symbol",
            "slul_saved_block",
        ],
        system_calls: true,
        register_jumps: false,
        variables: Variables::Name,
    },
    Rules {
        title: "code of slul_early_walk",
        function: "slul_early_walk",
        may_call: &[],
        system_calls: false,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_early_note",
        function: "slul_early_note",
        may_call: &[],
        system_calls: false,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_early_after",
        function: "slul_early_after",
        may_call: &[],
        system_calls: false,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_early_absolute",
        function: "slul_early_absolute",
        may_call: &["slul_early_after"],
        system_calls: false,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_early_segment",
        function: "slul_early_segment",
        may_call: &[],
        system_calls: false,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_own_symbol",
        function: "slul_own_symbol",
        may_call: &["slul_early_after"],
        system_calls: false,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_saved_block",
        function: "slul_saved_block",
        may_call: &[],
        system_calls: true,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_enter_deferred",
        function: "slul_enter_deferred",
        may_call: &["slul_call_deferred"],
        system_calls: true,
        register_jumps: true,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_late_start",
        function: "slul_late_start",
        may_call: &["slul_saved_block", "slul_shares_memory", "slul_relocate_self", "slul_late_main"],
        system_calls: true,
        register_jumps: false,
        variables: Variables::Write,
    },
    Rules {
        title: "code of slul_shares_memory",
        function: "slul_shares_memory",
        may_call: &[],
        system_calls: true,
        register_jumps: false,
        variables: Variables::Read,
    },
    Rules {
        title: "code of slul_relocate_self",
        function: "slul_relocate_self",
        may_call: &[],
        system_calls: true,
        register_jumps: false,
        variables: Variables::Name,
    },
];

/// Checks the early functions of a loader that has its symbols.
pub(crate) fn check(image: &Image) -> Vec<Row> {
    let rows = EARLY.iter().map(|rules| check_function(image, rules));
    rows.collect()
}

fn check_function(image: &Image, rules: &Rules) -> Row {
    let found = image.function(rules.function);
    let checked = found.and_then(|f| Ok((f, Surroundings::new(image, rules.may_call)?)));
    match checked {
        Err(error) => Row::new(rules.title, "-").require(false, || error.to_string()),
        Ok((function, around)) => {
            let reading = read(function, rules, &around);
            let figure = format!("{} instructions", reading.instructions);
            let wrong = reading.violations;
            Row::new(rules.title, figure).require(wrong.is_empty(), || wrong.join("; "))
        }
    }
}

/// Address ranges that matter to a function.
#[derive(Default)]
struct Surroundings {
    /// Words that are wrong before self-relocation.
    relocated: Vec<Range<u64>>,
    /// The loader's own variables.
    variables: Vec<Range<u64>>,
    /// Entries of the functions that it may call.
    callable: Vec<u64>,
}

impl Surroundings {
    fn new(image: &Image, may_call: &[&str]) -> Result<Self> {
        let is_relocated = |name: &str| name.starts_with(".got") || name.starts_with(".data.rel");
        let mut around = Self::default();
        for section in &image.sections {
            let name = section.name.as_str();
            if is_relocated(name) {
                around.relocated.push(section.range.clone());
            } else if name.starts_with(".data") || name.starts_with(".bss") {
                around.variables.push(section.range.clone());
            }
        }
        let slots = image.relative.iter().map(|slot| *slot..slot + 8);
        around.relocated.extend(slots);
        for name in may_call {
            around.callable.push(image.function(name)?.address);
        }
        Ok(around)
    }
}

/// Findings in a function.
struct Reading {
    instructions: usize,
    violations: Vec<String>,
}

fn read(function: &Function, rules: &Rules, around: &Surroundings) -> Reading {
    let end = function.address + function.code.len() as u64;
    let reader = Reader { rules, around, itself: function.address..end };
    let decoder = Decoder::with_ip(64, &function.code, function.address, DecoderOptions::NONE);
    let mut reading = Reading { instructions: 0, violations: Vec::new() };
    let mut falls_through = true;
    for instruction in decoder {
        reading.instructions += 1;
        for problem in reader.problems(&instruction) {
            let text = format!("{:#x} `{}` {problem}", instruction.ip(), text(&instruction));
            reading.violations.push(text);
        }
        let flow = instruction.flow_control();
        falls_through = matches!(flow, FlowControl::Next | FlowControl::ConditionalBranch);
    }
    if falls_through {
        reading.violations.push("runs off its end".to_owned());
    }
    reading
}

fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(instruction, &mut text);
    text
}

struct Reader<'a> {
    rules: &'a Rules,
    around: &'a Surroundings,
    itself: Range<u64>,
}

impl Reader<'_> {
    fn problems(&self, instruction: &Instruction) -> Vec<&'static str> {
        if instruction.is_invalid() {
            return vec!["is no instruction"];
        }
        let mut problems = Vec::new();
        problems.extend(self.privilege(instruction));
        problems.extend(self.flow(instruction));
        problems.extend(self.memory(instruction));
        problems
    }

    fn privilege(&self, instruction: &Instruction) -> Option<&'static str> {
        match instruction.mnemonic() {
            Mnemonic::Cpuid => Some("traps in a virtual machine"),
            Mnemonic::Syscall if self.rules.system_calls => None,
            Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int => Some("is a system call"),
            _ => None,
        }
    }

    fn flow(&self, instruction: &Instruction) -> Option<&'static str> {
        let through_memory = instruction.op0_kind() == OpKind::Memory;
        match instruction.flow_control() {
            FlowControl::IndirectCall | FlowControl::IndirectBranch if through_memory => {
                Some("goes through memory")
            }
            FlowControl::IndirectCall => Some("calls what is in a register"),
            FlowControl::IndirectBranch if !self.rules.register_jumps => Some("jumps to what is in a register"),
            FlowControl::Call if instruction.code() == Code::Syscall => None,
            FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                let target = instruction.near_branch_target();
                let allowed = self.itself.contains(&target) || self.around.callable.contains(&target);
                (!allowed).then_some("leaves the function")
            }
            FlowControl::XbeginXabortXend => Some("is a transaction"),
            _ => None,
        }
    }

    fn memory(&self, instruction: &Instruction) -> Vec<&'static str> {
        if !instruction.op_kinds().any(|kind| kind == OpKind::Memory) {
            return Vec::new();
        }
        let mut problems = Vec::new();
        if matches!(instruction.memory_segment(), Register::FS | Register::GS) {
            problems.push("uses the thread pointer");
        }
        let absolute = instruction.memory_base() == Register::None && instruction.memory_index() == Register::None;
        if absolute {
            problems.push("uses an absolute address");
        }
        if instruction.is_ip_rel_memory_operand() {
            problems.extend(self.own_memory(instruction));
        }
        problems
    }

    /// Problems of an instruction with a RIP-relative operand, which is in the loader's own image.
    fn own_memory(&self, instruction: &Instruction) -> Vec<&'static str> {
        let address = instruction.ip_rel_memory_address();
        let size = instruction.memory_size().size().max(1) as u64;
        let touches = |ranges: &[Range<u64>]| ranges.iter().any(|r| r.start < address + size && address < r.end);
        let mut problems = Vec::new();
        if touches(&self.around.relocated) {
            problems.push("touches what relocation changes");
        }
        if self.rules.variables != Variables::Read && touches(&self.around.variables) {
            if stores(instruction) && self.rules.variables != Variables::Write {
                problems.push("writes to the loader's own data");
            }
        } else if stores(instruction) {
            problems.push("writes to the loader's own data");
        } else if instruction.mnemonic() == Mnemonic::Lea && touches(&self.around.variables) {
            problems.push("takes the address of a variable");
        }
        problems
    }
}

/// Whether it writes to memory other than the stack (a call writes its return address there).
fn stores(instruction: &Instruction) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(instruction).used_memory();
    used.iter().any(|memory| {
        let reads = matches!(
            memory.access(),
            OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
        );
        !reads && memory.base() != Register::RSP
    })
}

#[cfg(test)]
#[path = "code_tests.rs"]
mod tests;
