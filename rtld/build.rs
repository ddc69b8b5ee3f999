//! Link arguments of the loader, and of nothing else.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use abi::arch::Arch;
use abi::export::VersionScript;

fn main() -> Result<(), Box<dyn Error>> {
    let root = env::var("CARGO_MANIFEST_DIR")?;
    // Not the machine that this runs on.
    let machine = env::var("CARGO_CFG_TARGET_ARCH")?;
    let arch = Arch::of_rust(&machine).ok_or_else(|| format!("{machine} is not in abi/src/arch.rs"))?;
    let script = PathBuf::from(env::var("OUT_DIR")?).join("exports.map");
    fs::write(&script, VersionScript.to_string())?;
    println!("cargo::rerun-if-changed=layout.ld");
    println!("cargo::rustc-check-cfg=cfg(using_libc)");
    println!("cargo::rerun-if-changed=build.rs");
    let arguments = [
        // No crt0, no libc, no interpreter: the kernel starts it, or starts a program with it.
        "-nostartfiles".to_owned(),
        "-nostdlib".to_owned(),
        "-static-pie".to_owned(),
        "-Wl,--no-dynamic-linker".to_owned(),
        format!("-Wl,-soname,{}", arch.paths.soname),
        // Headers, read-only data and text in one segment: a segment less for the kernel to map.
        "-Wl,--no-rosegment".to_owned(),
        // Offsets in the file are addresses: rt0 maps the file whole, and one that is embedded runs where it is.
        "-Wl,-z,separate-loadable-segments".to_owned(),
        "-Wl,-z,relro,-z,now,-z,noexecstack".to_owned(),
        "-Wl,-z,pack-relative-relocs".to_owned(),
        "-Wl,--hash-style=gnu".to_owned(),
        "-Wl,--build-id=sha1".to_owned(),
        "-Wl,--export-dynamic".to_owned(),
        format!("-Wl,--version-script={}", script.display()),
        format!("-Wl,-T,{root}/layout.ld"),
    ];
    for argument in arguments {
        println!("cargo::rustc-link-arg-bin=slulrtld={argument}");
    }
    Ok(())
}
