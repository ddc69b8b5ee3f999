//! Features that depend on the toolchain, built by every compiler and linker. slulrtld's results must equal those with
//! gcc and GNU ld, and glibc's with the same files.

use std::process::{Command, Stdio};

use crate::case::{Agreement, Case, Compiler, GNU, Linker, Model, Object, Toolchain};
use crate::features::{NO_IFUNC, NO_RELR, RELR, TLS, tls_objects};
use crate::order;

/// All toolchains.
const TOOLCHAINS: [Toolchain; 6] = [
    GNU,
    Toolchain { linker: Linker::Lld, ..GNU },
    Toolchain { linker: Linker::Mold, ..GNU },
    Toolchain { compiler: Compiler::Clang, ..GNU },
    Toolchain { compiler: Compiler::Clang, linker: Linker::Lld },
    Toolchain { compiler: Compiler::Clang, linker: Linker::Mold },
];

/// Compilers and linkers that a machine may lack, by their commands.
const TOOLS: [&str; 3] = ["clang", "ld.lld", "mold"];

/// The compilers and linkers that this machine lacks.
pub(crate) fn missing() -> Vec<&'static str> {
    let is_there = |name: &str| {
        let mut ask = Command::new(name);
        ask.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ask.status().is_ok_and(|status| status.success())
    };
    TOOLS.into_iter().filter(|name| !is_there(name)).collect()
}

/// Whether a case is built with any of these.
pub(crate) fn needs_any(case: &Case, tools: &[&str]) -> bool {
    let needs = |name: &str| match name {
        "clang" => case.toolchain.compiler == Compiler::Clang,
        "ld.lld" => case.toolchain.linker == Linker::Lld,
        _ => case.toolchain.linker == Linker::Mold,
    };
    tools.iter().any(|name| needs(name))
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for toolchain in TOOLCHAINS {
        let groups = [
            vec![scope(), protected(), initialisers(), versions()],
            thread_local(toolchain.compiler),
            indirect(),
            identity(),
            vec![packed(toolchain.linker)],
            if toolchain.compiler == Compiler::Gcc { layouts(toolchain.linker) } else { Vec::new() },
        ];
        for mut case in groups.into_iter().flatten() {
            let name = format!("{}-{}", toolchain.compiler.driver(), toolchain.linker.name());
            case.name = format!("toolchain/{name}/{}", case.name);
            case.toolchain = toolchain;
            cases.push(case);
        }
    }
    for linker in [Linker::Bfd, Linker::Lld, Linker::Mold] {
        cases.extend(rust(linker));
    }
    cases
}

/// A case with its expected output.
fn case(name: impl ToString, agreement: Agreement, objects: Vec<Object>, says: &'static str) -> Case {
    Case { says: Some(says), ..Case::new(name, agreement, objects) }
}

fn scope() -> Case {
    let library = |number: usize| Object::library(number, "scope").compile(format!("-DWHO={number}"));
    let program = Object::program(Model::Pie, "scope").needs([3, 1, 2]);
    let objects = vec![library(1), library(2), library(3).compile("-DWEAK"), program];
    case("scope", Agreement::All, objects, "function 3\ndata 30\nof 1 330\nof 2 330\nof 3 330\n")
}

fn protected() -> Case {
    let owner = Object::library("owner", "visibility").compile("-DOWNER");
    let owner = owner.compile("-DVISIBILITY=__attribute__((visibility(\"protected\")))");
    let program = Object::program(Model::PieIndirect, "visibility").compile("-DOTHER").compile("-DLOOKS");
    let says = "owner calls 1\nowner reads 1\nowner's pointer 1\nowner's place 1\nowner takes the same 1\n\
                program calls 2\nprogram reads 2\nprogram's pointer 2\n";
    case("protected", Agreement::All, vec![owner, program.needs(["owner"])], says)
}

fn initialisers() -> Case {
    let all = |object: Object| object.compile("-DSINGLE").compile("-DARRAYS").compile("-DPRIORITIES");
    let link = |object: Object| all(object).link("-Wl,-init,t_init").link("-Wl,-fini,t_fini");
    let program = Object::program(Model::Pie, "order").needs([1]);
    let objects = vec![link(order::named(1)), link(program)];
    let says = "DT_INIT 1\ninit 101 1\ninit 200 1\ninit 300 1\ninit 1\n\
                DT_INIT program\ninit 101 program\ninit 200 program\ninit 300 program\ninit program\nmain\n\
                fini program\nfini 300 program\nfini 200 program\nfini 101 program\nDT_FINI program\n\
                fini 1\nfini 300 1\nfini 200 1\nfini 101 1\nDT_FINI 1\n";
    case("initialisers", Agreement::All, objects, says)
}

fn versions() -> Case {
    let provider = Object::library("provider", "versions").compile("-DPROVIDER");
    let provider = provider.compile("-DONE=\"@\"").compile("-DTWO=\"@@\"").versions("V1 {}; V2 {} V1;");
    let user = Object::library("user", "versions").compile("-DOLD").needs(["provider"]);
    let program = Object::program(Model::PieIndirect, "versions").needs(["user", "provider"]);
    let says = "library's number 1\nlibrary's datum 10\nlibrary's pointer 1\nnumber 2\ndatum 20\npointer 2\n";
    let why = Agreement::Glibc("musl takes the default version, whatever is asked for");
    case("versions", why, vec![provider, user, program], says)
}

fn thread_local(compiler: Compiler) -> Vec<Case> {
    let says = "own 9\nlibrary 1\nshared 100\nodd 1\nzeroed 0\nlocal 1\naligned 7\n\
                library 2\nshared 101\nodd 1\nzeroed 0\nlocal 2\naligned 14\n\
                library 1\nshared 102\nodd 1\nzeroed 1\nlocal 2\naligned 7\nshared 103\nown 10\n";
    // clang has TLS descriptors on x86_64 since version 18.
    let usable = |name: &str| compiler == Compiler::Gcc || name != "descriptors";
    let mut cases = Vec::new();
    for (name, compile) in TLS.into_iter().filter(|(name, _)| usable(name)) {
        for model in [Model::PieIndirect, Model::Exec] {
            let objects = tls_objects(model, compile, [1, 2]);
            cases.push(case(format!("tls-{name}-{}", model.name()), Agreement::All, objects, says));
        }
    }
    cases
}

fn indirect() -> Vec<Case> {
    let says = "chosen 3\nown 5\nown by pointer 5\nchosen by pointer 3\nlibrary chosen 3\nlibrary inner 4\n\
                library's pointer is the same 1\nlibrary 3\nsame 1\n";
    let mut cases = Vec::new();
    for (name, compile, link) in [("lazy", &[][..], "-Wl,-z,lazy"), ("no-plt", &["-fno-plt"], "-Wl,-z,now")] {
        let library = Object::library(1, "ifunc").with(compile, &[link]);
        let program = Object::program(Model::PieIndirect, "ifunc").with(compile, &[link]).needs([1]);
        let objects = vec![library, program];
        cases.push(case(format!("ifunc-{name}"), Agreement::Glibc(NO_IFUNC), objects, says));
    }
    cases
}

/// Output of `identity.c`.
const IDENTITY: &str = "called 105\nowner's 1\nother's 1\nconstant 1\nplace 1\nalias 1\nthrough owner's 1002\n\
                        other 1027\nzeroed 11\n";

fn identity() -> Vec<Case> {
    let case_of = |model: Model| {
        let objects = identity_objects(model, &[]);
        case(format!("identity-{}", model.name()), Agreement::All, objects, IDENTITY)
    };
    Model::ALL.into_iter().map(case_of).collect()
}

fn identity_objects(model: Model, link: &[&str]) -> Vec<Object> {
    let owner = Object::library("owner", "identity").compile("-DOWNER").with(&[], link);
    let other = Object::library("other", "identity").with(&[], link);
    let program = Object::program(model, "identity").compile("-DCALLS").with(&[], link);
    vec![owner, other, program.needs(["owner", "other"])]
}

/// Output of `relative.c`.
const RELATIVE: &str =
    "first 5\nlast 6\none 1\ntwo 2\nthree 3\nfour 4\nfirst 5\nlast 6\none 1\ntwo 2\nthree 3\nfour 4\n";

/// A library with DT_RELR. The program has none: glibc requires the version GLIBC_ABI_DT_RELR of an object with it,
/// which only GNU ld adds.
fn packed(linker: Linker) -> Case {
    let flag = if linker == Linker::Bfd { RELR } else { "-Wl,--pack-dyn-relocs=relr" };
    let objects =
        vec![Object::library(1, "relative").link(flag), Object::program(Model::Pie, "relative").needs([1])];
    case("relr", Agreement::Glibc(NO_RELR), objects, RELATIVE)
}

/// Layouts of segments by each linker.
fn layouts(linker: Linker) -> Vec<Case> {
    let flags: &[(&str, &[&str])] = match linker {
        Linker::Bfd => &[
            ("noseparate-code", &["-Wl,-z,noseparate-code"]),
            ("huge-pages", &["-Wl,-z,max-page-size=0x200000"]),
            ("norelro", &["-Wl,-z,norelro"]),
        ],
        Linker::Lld => &[
            ("no-rosegment", &["-Wl,--no-rosegment"]),
            ("separate-code", &["-Wl,-z,separate-code"]),
            ("separate-segments", &["-Wl,-z,separate-loadable-segments"]),
            ("huge-pages", &["-Wl,-z,max-page-size=0x200000"]),
            ("norelro", &["-Wl,-z,norelro"]),
        ],
        Linker::Mold => &[
            ("noseparate-code", &["-Wl,-z,noseparate-code"]),
            ("separate-code", &["-Wl,-z,separate-code"]),
            ("separate-segments", &["-Wl,-z,separate-loadable-segments"]),
            ("norelro", &["-Wl,-z,norelro"]),
        ],
    };
    let mut cases = Vec::new();
    for (name, link) in flags {
        for model in [Model::PieIndirect, Model::Exec] {
            let objects = identity_objects(model, link);
            cases.push(case(format!("layout-{name}-{}", model.name()), Agreement::All, objects, IDENTITY));
        }
    }
    cases
}

/// A `cdylib` and a `bin` without std, with rustc's options for the linker: bound at once by default.
fn rust(linker: Linker) -> Vec<Case> {
    let says = "initialised\nsum 10\nnames one two three\nshapes 12 25\ncounter 3 3\nsame function true\n\
                main 0x11\nfinalised\n";
    let mut cases = Vec::new();
    for (name, model, link) in
        [("pie", Model::Pie, &[][..]), ("lazy", Model::Pie, &["-Wl,-z,lazy"]), ("exec", Model::Exec, &[])]
    {
        let library = Object::rust_library("shapes", "rust_library").with(&[], link);
        let program = Object::program(model, "rust_program").with(&[], link).needs(["shapes"]);
        let name = format!("toolchain/rustc-{}/{name}", linker.name());
        let case = case(name, Agreement::All, vec![library, program], says);
        cases.push(Case { toolchain: Toolchain { compiler: Compiler::Rustc, linker }, ..case });
    }
    cases
}
