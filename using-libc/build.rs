//! Link arguments: an ordinary dynamic executable of the libc whose compiler driver links it.

use std::env;

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=exports.map");
    println!("cargo::rerun-if-changed=build.rs");
    // What `rtld/src/run` has to know of the program that it is a part of, where it can not ask `platform`.
    println!("cargo::rustc-check-cfg=cfg(using_libc)");
    println!("cargo::rustc-cfg=using_libc");
    // `xtask` sets it where the linker knows versions of symbols (src/system.rs).
    println!("cargo::rustc-check-cfg=cfg(versioned)");
    let arguments = [
        // The entry is its own (src/cpu.rs).
        "-nostartfiles".to_owned(),
        "-lc".to_owned(),
        // Two functions are for libraries to bind to (`platform/walkers.rs`).
        format!("-Wl,--version-script={root}/exports.map"),
        "-Wl,-z,relro,-z,now,-z,noexecstack".to_owned(),
        "-Wl,--build-id=sha1".to_owned(),
    ];
    for argument in arguments {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
