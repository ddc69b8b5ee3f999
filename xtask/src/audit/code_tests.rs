//! Each kind of code that the checker refuses, in the bytes of a function.

use super::super::image::Section;
use super::*;

const ADDRESS: u64 = 0x1000;
const GOT: u64 = 0x3000;
const SLOT: u64 = 0x4010;
const BSS: u64 = 0x5000;
const RODATA: u64 = 0x2000;
const CALLEE: u64 = 0x1800;
const RET: u8 = 0xc3;

const STRICT: Rules = Rules {
    title: "code of it",
    function: "it",
    may_call: &[],
    system_calls: false,
    register_jumps: false,
    variables: Variables::Read,
};

fn image(code: &[u8]) -> Image {
    let section = |name: &str, start| Section { name: name.to_owned(), range: start..start + 0x100 };
    let function =
        |name: &str, address, code: &[u8]| Function { name: name.to_owned(), address, code: code.to_vec() };
    let mut image = Image::read(&std::env::current_exe().unwrap()).unwrap();
    image.sections =
        vec![section(".rodata", RODATA), section(".got", GOT), section(".data", 0x4000), section(".bss", BSS)];
    image.relative = vec![SLOT];
    image.functions = vec![function("it", ADDRESS, code), function("callee", CALLEE, &[RET])];
    image
}

/// The reason for which the function is refused under these rules; empty if it is not.
fn refusal_under(rules: &Rules, code: &[u8]) -> String {
    let row = check_function(&image(code), rules);
    row.failure.unwrap_or_default()
}

/// The reason for which code, followed by a return, is refused under the strict rules; empty if it is not.
fn refusal(code: &[u8]) -> String {
    refusal_under(&STRICT, &[code, &[RET]].concat())
}

/// An instruction at the function's start with a 32-bit displacement to `target` at its end.
fn relative(opcode: &[u8], target: u64) -> Vec<u8> {
    let next = ADDRESS + opcode.len() as u64 + 4;
    let displacement = i32::try_from(target.wrapping_sub(next).cast_signed()).unwrap();
    [opcode, &displacement.to_le_bytes()].concat()
}

const CALL: &[u8] = &[0xe8];
const JMP: &[u8] = &[0xe9];
const JE: &[u8] = &[0x0f, 0x84];
const CALL_MEMORY: &[u8] = &[0xff, 0x15];
const JMP_MEMORY: &[u8] = &[0xff, 0x25];
const LOAD: &[u8] = &[0x48, 0x8b, 0x05];
const STORE: &[u8] = &[0x48, 0x89, 0x05];
const LEA: &[u8] = &[0x48, 0x8d, 0x05];

#[test]
fn plain_computation_passes() {
    assert_eq!(refusal(&[]), "");
    // mov rax, [rdi]; add rax, 8; mov [rsp-8], rax
    let code = [0x48, 0x8b, 0x07, 0x48, 0x83, 0xc0, 0x08, 0x48, 0x89, 0x44, 0x24, 0xf8];
    assert_eq!(refusal(&code), "");
    assert_eq!(refusal(&relative(LOAD, RODATA)), "");
    assert_eq!(refusal(&relative(LEA, RODATA)), "");
    assert_eq!(refusal(&relative(JE, ADDRESS)), "");
    assert_eq!(refusal(&relative(CALL, ADDRESS)), "");
}

#[test]
fn transfers_through_memory_are_refused() {
    assert!(refusal(&relative(CALL_MEMORY, RODATA)).contains("goes through memory"));
    assert!(refusal(&relative(JMP_MEMORY, RODATA)).contains("goes through memory"));
    // call [rax]; jmp [rax]
    assert!(refusal(&[0xff, 0x10]).contains("goes through memory"));
    assert!(refusal(&[0xff, 0x20]).contains("goes through memory"));
}

#[test]
fn transfers_out_of_the_function_are_refused() {
    for opcode in [CALL, JMP, JE] {
        let code = relative(opcode, CALLEE);
        assert!(refusal(&code).contains("leaves the function"));
    }
    // The first byte behind it.
    assert!(refusal(&relative(JE, ADDRESS + 7)).contains("leaves the function"));
}

#[test]
fn only_the_named_functions_may_be_called() {
    let rules = Rules { may_call: &["callee"], ..STRICT };
    assert_eq!(refusal_under(&rules, &relative(CALL, CALLEE)), "");
    assert_eq!(refusal_under(&rules, &relative(JMP, CALLEE)), "");
    let inside = refusal_under(&rules, &relative(CALL, CALLEE + 1));
    assert!(inside.contains("leaves the function"));
    let unknown = Rules { may_call: &["nobody"], ..STRICT };
    assert!(refusal_under(&unknown, &[RET]).contains("no function nobody"));
}

#[test]
fn transfers_through_registers_are_refused() {
    assert!(refusal(&[0xff, 0xd0]).contains("calls what is in a register"));
    assert!(refusal(&[0xff, 0xe0]).contains("jumps to what is in a register"));
    let rules = Rules { register_jumps: true, ..STRICT };
    assert_eq!(refusal_under(&rules, &[0xff, 0xe0]), "");
    assert!(refusal_under(&rules, &[0xff, 0xd0]).contains("calls what is in a register"));
}

#[test]
fn relocated_memory_is_refused() {
    for opcode in [LOAD, STORE, LEA] {
        for address in [GOT, GOT - 1 + 0x100, SLOT, SLOT + 7] {
            let refused = refusal(&relative(opcode, address));
            assert!(refused.contains("touches what relocation changes"));
        }
    }
    // A load of eight bytes that ends in the slot.
    let overlapping = refusal(&relative(LOAD, SLOT - 7));
    assert!(overlapping.contains("touches what relocation changes"));
    assert_eq!(refusal(&relative(LOAD, SLOT + 8)), "");
    assert_eq!(refusal(&relative(LOAD, SLOT - 8)), "");
}

#[test]
fn stores_into_the_image_are_refused() {
    assert!(refusal(&relative(STORE, BSS)).contains("writes to the loader's own data"));
    // lock xadd [rip+..], rax
    let xadd = relative(&[0xf0, 0x48, 0x0f, 0xc1, 0x05], BSS);
    assert!(refusal(&xadd).contains("writes to the loader's own data"));
    assert!(refusal(&relative(LEA, BSS)).contains("takes the address of a variable"));
    assert_eq!(refusal(&relative(LOAD, BSS)), "");
    // push [rip+..] writes to the stack; pop [rip+..] does not.
    assert_eq!(refusal(&relative(&[0xff, 0x35], BSS)), "");
    let pop = refusal(&relative(&[0x8f, 0x05], BSS));
    assert!(pop.contains("writes to the loader's own data"));
}

#[test]
fn variables_are_written_by_those_that_may() {
    let under = |variables, opcode, address| {
        let code = [relative(opcode, address), vec![RET]].concat();
        refusal_under(&Rules { variables, ..STRICT }, &code)
    };
    for variables in [Variables::Name, Variables::Write] {
        assert_eq!(under(variables, LEA, BSS), "");
        assert!(under(variables, STORE, RODATA).contains("writes to the loader's own data"));
        assert!(under(variables, STORE, SLOT).contains("touches what relocation changes"));
    }
    assert!(under(Variables::Name, STORE, BSS).contains("writes to the loader's own data"));
    assert_eq!(under(Variables::Write, STORE, BSS), "");
}

#[test]
fn system_calls_and_cpuid_are_refused() {
    for code in [[0x0f, 0x05], [0x0f, 0x34], [0xcd, 0x80]] {
        assert!(refusal(&code).contains("is a system call"));
    }
    assert!(refusal(&[0x0f, 0xa2]).contains("traps in a virtual machine"));
    let rules = Rules { system_calls: true, ..STRICT };
    assert_eq!(refusal_under(&rules, &[0x0f, 0x05, RET]), "");
    assert!(refusal_under(&rules, &[0x0f, 0xa2, RET]).contains("traps"));
}

#[test]
fn thread_pointer_and_absolute_addresses_are_refused() {
    // mov rax, fs:[0x28]; mov rax, fs:[rdi]; mov eax, [0x1000]
    let canary = refusal(&[0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0]);
    assert!(canary.contains("uses the thread pointer"));
    let indirect = refusal(&[0x64, 0x48, 0x8b, 0x07]);
    assert!(indirect.contains("uses the thread pointer"));
    let absolute = refusal(&[0x8b, 0x04, 0x25, 0, 0x10, 0, 0]);
    assert!(absolute.contains("uses an absolute address"));
}

#[test]
fn what_is_no_function_is_refused() {
    assert!(refusal_under(&STRICT, &[]).contains("runs off its end"));
    assert!(refusal_under(&STRICT, &[0x90]).contains("runs off its end"));
    assert!(refusal(&[0x06]).contains("is no instruction"));
    let absent = Rules { function: "absent", ..STRICT };
    assert!(refusal_under(&absent, &[RET]).contains("no function absent"));
}
