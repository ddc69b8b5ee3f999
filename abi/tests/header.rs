//! `slul.h` as C11 and C++17 compilers see it, against this crate: constants, the note, and the type of every export.
#![cfg(test)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use abi::export::{self, Declared, Export};
use abi::note::{ABI_MAJOR, ABI_MINOR, AbiNote, FLAG_CALL_ENTRY, FLAG_EAGER_LIBC, LOADER_VERSION};
use slul_abi as abi;

/// Every constant of the header.
fn constants() -> Vec<(&'static str, i64)> {
    vec![
        ("SLUL_CALL_ENTRY", FLAG_CALL_ENTRY.into()),
        ("SLUL_EAGER_LIBC", FLAG_EAGER_LIBC.into()),
        ("SLUL_LIBC_ABSENT", export::LIBC_ABSENT.into()),
        ("SLUL_LIBC_LOADING", export::LIBC_LOADING.into()),
        ("SLUL_LIBC_PRESENT", export::LIBC_PRESENT.into()),
        ("SLUL_RTLD_DEEPBIND", export::RTLD_DEEPBIND.into()),
        ("SLUL_RTLD_DEFAULT", i64::try_from(export::RTLD_DEFAULT).unwrap()),
        ("SLUL_RTLD_DI_LINKMAP", export::RTLD_DI_LINKMAP.into()),
        ("SLUL_RTLD_DI_LMID", export::RTLD_DI_LMID.into()),
        ("SLUL_RTLD_DI_ORIGIN", export::RTLD_DI_ORIGIN.into()),
        ("SLUL_RTLD_DI_PHDR", export::RTLD_DI_PHDR.into()),
        ("SLUL_RTLD_DI_TLS_DATA", export::RTLD_DI_TLS_DATA.into()),
        ("SLUL_RTLD_DI_TLS_MODID", export::RTLD_DI_TLS_MODID.into()),
        ("SLUL_RTLD_GLOBAL", export::RTLD_GLOBAL.into()),
        ("SLUL_RTLD_LAZY", export::RTLD_LAZY.into()),
        ("SLUL_RTLD_LOCAL", export::RTLD_LOCAL.into()),
        ("SLUL_RTLD_NEXT", i64::try_from(export::RTLD_NEXT).unwrap()),
        ("SLUL_RTLD_NODELETE", export::RTLD_NODELETE.into()),
        ("SLUL_RTLD_NOLOAD", export::RTLD_NOLOAD.into()),
        ("SLUL_RTLD_NOW", export::RTLD_NOW.into()),
    ]
}

/// Macros that are no constants.
const OTHERS: [&str; 2] = ["SLUL_ABI_NOTE", "SLUL_H"];

/// Flags that the note is emitted with; any will do.
const FLAGS: u32 = 0x8000_0001;

/// A compiler, and the standard that it is asked for.
const C: (&str, &str) = ("gcc", "c11");
const CXX: (&str, &str) = ("g++", "c++17");

/// Strict, and with the header's own directory.
fn compiler(name: &str, standard: &str) -> Command {
    let mut command = Command::new(name);
    command.arg(format!("-std={standard}")).args(["-pedantic", "-Wall", "-Wextra", "-Werror", "-I"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"));
    command
}

/// Compiles and runs a program; what it prints.
fn printed(name: &str, (compiler_name, standard): (&str, &str), source: &str) -> String {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    let (file, program) = (directory.join("source"), directory.join("program"));
    fs::write(&file, source).unwrap();
    let language = if standard.starts_with("c++") { "c++" } else { "c" };
    let mut command = compiler(compiler_name, standard);
    let built = command.args(["-x", language]).arg(&file).arg("-o").arg(&program).output().unwrap();
    assert!(built.status.success(), "{compiler_name}: {}", String::from_utf8_lossy(&built.stderr));
    let output = Command::new(&program).output().unwrap();
    assert!(output.status.success(), "{compiler_name}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// What the preprocessor makes of the header.
fn preprocessed(arguments: &[&str]) -> String {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/slul.h");
    let output = Command::new(C.0).arg("-E").args(arguments).arg(header).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// A program that prints the constants, a line each, and the note's bytes. It does not compile where an export that
/// `slul.h` declares has another type.
fn program(same_type: &str) -> String {
    let mut text = String::from("#include <stdio.h>\n#include <slul.h>\n");
    text += &format!("SLUL_ABI_NOTE({FLAGS:#x}u)\n{same_type}");
    for export in declared_in(Declared::Slul) {
        text += &format!("SAME_TYPE({}, {});\n", export.name, export.address);
    }
    text += "int main(void) {\n";
    for (name, _) in constants() {
        text += &format!("    printf(\"%lld\\n\", (long long)(long){name});\n");
    }
    text += "    for (unsigned i = 0; i < sizeof slul_abi_note; i++)\n";
    text + "        printf(\"%02x\", ((const unsigned char *)&slul_abi_note)[i]);\n    return 0;\n}\n"
}

fn declared_in(place: Declared) -> impl Iterator<Item = &'static Export> {
    export::ALL.iter().filter(move |export| export.declared == place)
}

/// What the program is to print.
fn expected() -> String {
    let note = AbiNote { abi_major: ABI_MAJOR, abi_minor: ABI_MINOR, flags: FLAGS, min_loader: LOADER_VERSION };
    let lines: String = constants().iter().map(|(_, value)| format!("{value}\n")).collect();
    let bytes: String = note.to_ne_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    lines + &bytes
}

/// In C a type is selected, in C++ a template is specialised.
const SAME_IN_C: &str = "#define SAME_TYPE(name, ...) \
     _Static_assert(_Generic(&name, __VA_ARGS__: 1, default: 0), #name)\n";
const SAME_IN_CXX: &str = "template <class A, class B> struct same { enum { value = 0 }; };\n\
     template <class A> struct same<A, A> { enum { value = 1 }; };\n\
     #define SAME_TYPE(name, ...) static_assert(same<decltype(&name), __VA_ARGS__>::value, #name)\n";

#[test]
fn c_sees_what_the_crate_says() {
    assert_eq!(printed("c", C, &program(SAME_IN_C)), expected());
}

#[test]
fn cxx_sees_what_the_crate_says() {
    let there = Command::new(CXX.0).arg("--version").stdout(Stdio::null()).status().is_ok();
    if there {
        assert_eq!(printed("cxx", CXX, &program(SAME_IN_CXX)), expected());
    } else {
        // Not by a macro: what those print of a test that passes is not shown.
        writeln!(std::io::stdout(), "\n1 tests left out: there is no {} to compile slul.h", CXX.0).unwrap();
    }
}

#[test]
fn another_type_would_not_compile() {
    let source = format!("#include <slul.h>\n{SAME_IN_C}SAME_TYPE(slul_dlclose, int (*)(int));\n");
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = directory.join("other-type.c");
    fs::write(&file, source).unwrap();
    let output = compiler(C.0, C.1).arg("-fsyntax-only").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("static assertion failed: \"slul_dlclose\""), "{said}");
}

#[test]
fn exports_that_libc_declares_have_its_types() {
    let mut source = String::from("#define _GNU_SOURCE\n#include <stddef.h>\n");
    let libcs = export::ALL.iter().filter_map(|export| match export.declared {
        Declared::Header(header) => Some((header, export)),
        _ => None,
    });
    let libcs: Vec<_> = libcs.collect();
    for header in libcs.iter().map(|(header, _)| header).collect::<BTreeSet<_>>() {
        source += &format!("#include <{header}>\n");
    }
    source += SAME_IN_C;
    for (_, export) in libcs {
        source += &format!("SAME_TYPE({}, {});\n", export.name, export.address);
    }
    source += "int main(void) { return 0; }\n";
    assert_eq!(printed("libc", C, &source), "");
}

#[test]
fn the_header_has_no_other_constants_and_functions() {
    let defined = preprocessed(&["-dM"]);
    let macros = defined.lines().filter_map(|line| line.strip_prefix("#define ")?.split([' ', '(']).next());
    let found: BTreeSet<_> = macros.filter(|name| name.starts_with("SLUL_") && !OTHERS.contains(name)).collect();
    assert_eq!(found, constants().into_iter().map(|(name, _)| name).collect());

    let declarations = preprocessed(&["-P"]);
    let mut found = BTreeSet::new();
    for (at, _) in declarations.match_indices("slul_") {
        let name: &str = declarations[at..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        if declarations[at + name.len()..].starts_with('(') {
            found.insert(name);
        }
    }
    assert_eq!(found, declared_in(Declared::Slul).map(|export| export.name).collect());
}
