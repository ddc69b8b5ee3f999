//! Binding: versions, IFUNCs, missing definitions, interposition.

use crate::case::{Case, Part};

pub(crate) fn cases() -> Vec<Case> {
    let native = || Part::native("libnative");
    let mut cases = vec![
        Case::new("binding/libc-alone", "alone").unmarked(),
        Case::new("binding/ifunc", "ifunc").part(native()).gnu_alone("musl has no IFUNC"),
        Case::new("binding/ifunc-no-plt", "ifunc")
            .compile(&["-fno-plt"])
            .part(native())
            .gnu_alone("musl has no IFUNC"),
        Case::new("binding/weak-pie", "weak").part(native()),
        Case::new("binding/weak-exec", "weak").compile(&["-fno-pie"]).link(&["-no-pie"]).part(native()),
        Case::new("binding/allocator", "allocator")
            .link(&["-Wl,--push-state", "-l:libjemalloc.so.2", "-Wl,--pop-state"])
            .part(native().link(&["-ldl", "-lpthread"]))
            .wants("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "libjemalloc2")
            .gnu_alone("there is no jemalloc for musl"),
        Case::new("binding/no-allocator", "allocator").part(native()),
    ];
    for name in ["SETJMP", "SIGSETJMP", "VFORK", "FORK", "CONTEXT"] {
        let case = Case::new(format!("binding/first-call-{}", name.to_lowercase()), "returns_twice");
        let case = case.compile(&[&format!("-D{name}"), "-Wno-clobbered"]);
        cases.push(if name == "CONTEXT" { case.gnu_alone("musl has no contexts") } else { case });
    }
    let view = |name: &str| Case::new(format!("binding/{name}"), "view").link(&["-rdynamic"]).part(native());
    cases.push(view("view").part(Part::library("libfree")).part(Part::native("libapart").apart()));
    let library = view("view-of-library").compile(&["-DLIBRARY"]).part(Part::library("libfree"));
    cases.push(library.part(Part::native("libapart").apart()));
    for (name, compile, link) in [("lazy", "-fplt", "-Wl,-z,lazy"), ("now", "-fno-plt", "-Wl,-z,now")] {
        let case = Case::new(format!("binding/versions-{name}"), "versions").compile(&[compile]).link(&[link]);
        cases.push(case.gnu_alone("musl has no versions"));
    }
    for (name, order) in [("12", ["libfirst", "libsecond"]), ("21", ["libsecond", "libfirst"])] {
        let case = Case::new(format!("binding/order-{name}"), "interpose").link(&["-rdynamic"]);
        cases.push(order.into_iter().fold(case, |case, name| case.part(Part::native(name))));
    }
    for (name, order) in [
        ("program", &["libfirst", "libsecond"][..]),
        ("program-21", &["libsecond", "libfirst"]),
        ("library", &["libfree", "libfirst", "libsecond"]),
        ("libraries", &["libwrap", "libfree", "libsecond", "libfirst"]),
    ] {
        for (how, compile, link) in [("pie", "-fPIE", "-pie"), ("exec", "-fno-pie", "-no-pie")] {
            let case = Case::new(format!("binding/next-of-{name}-{how}"), "next").opens();
            let case = case.compile(&["-fno-builtin", compile]).link(&["-rdynamic", link]);
            let part = |name| if order.contains(&name) { Some(name) } else { None };
            let mut case = case.part(Part::native("libapart").apart()).gnu_alone("musl has no IFUNC");
            for &name in order {
                let Some(name) = part(name) else { continue };
                let free = matches!(name, "libfree" | "libwrap");
                case = case.part(if free { Part::library(name) } else { Part::native(name) });
            }
            cases.push(case);
        }
    }
    cases
}
