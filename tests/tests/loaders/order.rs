//! Initialisers and finalisers: every graph of needs between three libraries, and every way to be initialised.

use crate::case::{Agreement, Case, Model, ORDERS, Object, library_file, word};

pub(crate) fn cases() -> Vec<Case> {
    [graphs(), functions(), preinit(), names()].into_iter().flatten().collect()
}

/// DT_NEEDED among three libraries: bit `3 * from + to`.
#[derive(Clone, Copy)]
struct Graph(usize);

impl Graph {
    const COUNT: usize = 1 << 9;

    fn needs(self, from: usize, to: usize) -> bool {
        self.0 >> (3 * from + to) & 1 == 1
    }

    /// Whether no library needs itself.
    fn is_simple(self) -> bool {
        (0..3).all(|library| !self.needs(library, library))
    }

    /// The transitive closure.
    fn closed(mut self) -> Self {
        for through in 0..3 {
            for from in 0..3 {
                for to in 0..3 {
                    if self.needs(from, through) && self.needs(through, to) {
                        self.0 |= 1 << (3 * from + to);
                    }
                }
            }
        }
        self
    }

    /// A name with all needs: `1-needs-23-2-needs-3`.
    fn name(self) -> String {
        let needs = |from| {
            let needed: Vec<_> = (0..3).filter(|&to| self.needs(from, to)).map(|to| to + 1).collect();
            (!needed.is_empty()).then(|| format!("{}-needs-{}", from + 1, word(&needed)))
        };
        let all: Vec<_> = (0..3).filter_map(needs).collect();
        if all.is_empty() { "independent".to_owned() } else { all.join("-") }
    }
}

/// A library of `order.c`, with its name.
pub(crate) fn named(name: impl ToString) -> Object {
    let name = name.to_string();
    Object::library(&name, "order").compile(format!("-DNAME=\"{name}\""))
}

/// A library that prints its name.
fn says(name: impl ToString) -> Object {
    named(name).compile("-DARRAYS")
}

/// All graphs. The program names the libraries in one order; another order is equivalent to another graph.
fn graphs() -> Vec<Case> {
    let mut cases = Vec::new();
    for graph in (0..Graph::COUNT).map(Graph).filter(|graph| graph.is_simple()) {
        // First all libraries without needs, so that cycles can be linked.
        let mut objects: Vec<_> = (1..=3).map(says).collect();
        for from in 0..3 {
            let needed: Vec<_> = (0..3).filter(|&to| graph.needs(from, to)).map(|to| to + 1).collect();
            if !needed.is_empty() {
                objects.push(says(from + 1).needs(needed));
            }
        }
        objects.push(Object::program(Model::Pie, "order").compile("-DARRAYS").needs(1..=3));
        let mut case = Case::new(format!("order/{}", graph.name()), agreement(graph.closed()), objects);
        case.before = before(graph.closed());
        cases.push(case);
    }
    cases
}

/// The required order: a needed library's initialiser before the needing one's, finalisers in reverse.
fn before(closed: Graph) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for from in 0..3 {
        pairs.push((format!("init {}", from + 1), "init program".to_owned()));
        pairs.push(("fini program".to_owned(), format!("fini {}", from + 1)));
        for to in 0..3 {
            // A loader breaks a cycle anywhere, perhaps before the further needs of one of its members.
            if closed.needs(from, to) && !closed.needs(from, from) {
                pairs.push((format!("init {}", to + 1), format!("init {}", from + 1)));
                pairs.push((format!("fini {}", from + 1), format!("fini {}", to + 1)));
            }
        }
    }
    pairs
}

/// The loaders to agree with: all if only one order is right, else the one whose order slulrtld follows.
fn agreement(closed: Graph) -> Agreement {
    let pairs = [(0, 1), (0, 2), (1, 2)];
    let both = |&(a, b): &(usize, usize)| closed.needs(a, b) && closed.needs(b, a);
    let neither = |&(a, b): &(usize, usize)| !closed.needs(a, b) && !closed.needs(b, a);
    if pairs.iter().any(both) {
        Agreement::GlibcOrder("musl begins cycles at another library than glibc and slulrtld")
    } else if pairs.iter().any(neither) {
        Agreement::GlibcOrder(
            "musl initialises libraries that do not need each other first first, glibc and slulrtld last first",
        )
    } else {
        Agreement::All
    }
}

/// Kinds of initialisers: names, and flags for compiler and linker.
const WAYS: [(&str, &[&str], &[&str]); 3] = [
    ("single", &["-DSINGLE"], &["-Wl,-init,t_init", "-Wl,-fini,t_fini"]),
    ("arrays", &["-DARRAYS"], &[]),
    ("priorities", &["-DPRIORITIES"], &[]),
];

/// Program and libraries with any of DT_INIT, DT_INIT_ARRAY, and constructors with priorities.
fn functions() -> Vec<Case> {
    let mut cases = Vec::new();
    for ways in 1..8usize {
        let chosen =
            || WAYS.into_iter().enumerate().filter(move |(bit, _)| ways >> bit & 1 == 1).map(|(_, way)| way);
        let name: Vec<_> = chosen().map(|(name, _, _)| name).collect();
        let equip = |object: Object, link: bool| {
            let add = |object: Object, (_, compile, flags): (&str, &[&str], &[&str])| {
                object.with(compile, if link { flags } else { &[] })
            };
            chosen().fold(object, add)
        };
        for who in ["library", "program", "all"] {
            let mut library = named(1);
            let mut program = Object::program(Model::Pie, "order").needs([1]);
            library = if who == "program" { library } else { equip(library, true) };
            program = if who == "library" { program } else { equip(program, true) };
            let name = format!("order/{}-of-{who}", name.join("-"));
            cases.push(Case::new(name, Agreement::All, vec![library, program]));
        }
    }
    cases
}

/// DT_PREINIT_ARRAY of the program runs before all initialisers.
fn preinit() -> Vec<Case> {
    let mut cases = Vec::new();
    for model in Model::ALL {
        for (name, compile) in [("alone", &["-DPREINIT"][..]), ("with-arrays", &["-DPREINIT", "-DARRAYS"])] {
            let program = Object::program(model, "order").with(compile, &[]).needs([2, 1]);
            let objects = vec![says(1), says(2).needs([1]), program];
            let why = Agreement::Glibc("musl does not run DT_PREINIT_ARRAY");
            cases.push(Case::new(format!("order/preinit-{name}-{}", model.name()), why, objects));
        }
    }
    cases
}

/// One library by two names is one library, initialised once.
fn names() -> Vec<Case> {
    let mut cases = Vec::new();
    for order in ORDERS {
        let name = |number: usize| if number == 3 { "same".to_owned() } else { number.to_string() };
        let order: Vec<_> = order.into_iter().map(name).collect();
        // Linked with a library of that name; then the name becomes a link to the first library.
        let stand_in = Object::library("same", "order").compile("-DNAME=\"stand-in\"");
        let program = Object::program(Model::Pie, "order").compile("-DARRAYS").needs(order.iter());
        let objects = vec![
            says(1),
            says(2).needs([1]),
            stand_in,
            program,
            Object::removal(&library_file("same")),
            Object::symlink(&library_file("same"), "libt1.so"),
        ];
        cases.push(Case::new(format!("order/two-names-{}", order.join("-")), Agreement::All, objects));
    }
    // A soname is a name, too.
    let objects = vec![
        says("other").link("-Wl,-soname,libt1.so"),
        says(1).link("-Wl,-soname,libt1.so"),
        says(2).needs([1]),
        Object::program(Model::Pie, "order").compile("-DARRAYS").needs(["other", "2"]),
    ];
    cases.push(Case::new("order/two-names-by-soname", Agreement::All, objects));
    cases
}
