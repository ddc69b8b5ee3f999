//! Random openings and closings over random graphs of libraries, compared with a simple model of the mapped libraries.

use std::collections::{BTreeMap, BTreeSet};

use rtld::open::find::Where;
use tests::memory::file::DATA;
use tests::memory::{ElfBuilder, Scene, Symbol};

use crate::opened::{GLOBAL, NODELETE, NOLOAD, Process};

const LIBRARIES: usize = 7;
const NAMES: [&str; LIBRARIES] = ["l0", "l1", "l2", "l3", "l4", "l5", "l6"];
const GRAPHS: u64 = 100;
const SEQUENCES: u64 = 20;
const STEPS: usize = 12;

/// Pseudo-random numbers, the same in every run (Marsaglia, "Xorshift RNGs").
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn some(&mut self, of: usize, odds: usize) -> Vec<usize> {
        (0..of).filter(|_| self.below(odds) == 0).collect()
    }
}

/// Needs and references between libraries.
struct Graph {
    needs: Vec<Vec<usize>>,
    refers: Vec<Vec<usize>>,
    /// Whether needs only lead to higher numbers.
    acyclic: bool,
}

impl Graph {
    fn random(random: &mut Random) -> Self {
        let acyclic = random.below(2) == 0;
        let mut graph = Self { needs: Vec::new(), refers: Vec::new(), acyclic };
        for number in 0..LIBRARIES {
            let mut needs = random.some(LIBRARIES, 4);
            needs.retain(|&other| !acyclic || other > number);
            graph.needs.push(needs);
            graph.refers.push(random.some(LIBRARIES, 4));
        }
        graph
    }

    fn process(&self) -> Process {
        let scene = (0..LIBRARIES).fold(Scene::new(&ElfBuilder::new()), |scene, number| {
            let own = format!("s{number}");
            let elf = self.needs[number].iter().fold(ElfBuilder::new(), |elf, &other| elf.needs(NAMES[other]));
            let elf =
                self.refers[number].iter().fold(elf.symbol(Symbol::object(&own, DATA + 0x40)), |elf, &other| {
                    let name = format!("s{other}");
                    let elf = if other == number { elf } else { elf.symbol(Symbol::undefined(&name).weak()) };
                    elf.rela(DATA + 8 * other as u64, 1, &name, 0)
                });
            scene.file(&format!("/lib/slul/{}", NAMES[number]), &elf)
        });
        Process::of(scene)
    }

    fn closure(&self, root: usize) -> BTreeSet<usize> {
        let mut all = BTreeSet::from([root]);
        let mut left = vec![root];
        while let Some(number) = left.pop() {
            left.extend(self.needs[number].iter().copied().filter(|&other| all.insert(other)));
        }
        all
    }
}

/// The libraries that must be mapped.
#[derive(Default)]
struct Model {
    /// Number of handles of each library.
    counts: [usize; LIBRARIES],
    kept: BTreeSet<usize>,
    global: BTreeSet<usize>,
    /// The mapped libraries, and the libraries that each is bound to.
    mapped: BTreeMap<usize, BTreeSet<usize>>,
    initialised: Vec<usize>,
}

impl Model {
    fn open(&mut self, graph: &Graph, root: usize, flags: i32, initialised: &[usize]) {
        let closure = graph.closure(root);
        let fresh: Vec<usize> =
            closure.iter().copied().filter(|number| !self.mapped.contains_key(number)).collect();
        for &number in &fresh {
            let refers = graph.refers[number].iter().copied();
            let bound = refers.filter(|other| self.global.contains(other) || closure.contains(other));
            self.mapped.insert(number, bound.collect());
        }
        assert_eq!(BTreeSet::from_iter(initialised), fresh.iter().collect(), "what is fresh is initialised");
        for (place, number) in initialised.iter().enumerate().filter(|_| graph.acyclic) {
            let earlier = &initialised[..place];
            let first = |need: &usize| earlier.contains(need) || !fresh.contains(need);
            assert!(graph.needs[*number].iter().all(first), "{initialised:?}");
        }
        self.initialised.extend(initialised);
        self.counts[root] += 1;
        if flags & GLOBAL != 0 {
            self.global.extend(&closure);
        }
        if flags & NODELETE != 0 {
            self.kept.insert(root);
        }
    }

    /// Closes a library in the model; returns the libraries to be removed, in order.
    fn close(&mut self, graph: &Graph, number: usize) -> Vec<usize> {
        self.counts[number] -= 1;
        let mut stays: BTreeSet<usize> = self.kept.clone();
        stays.extend((0..LIBRARIES).filter(|&number| self.counts[number] != 0));
        let mut left: Vec<usize> = stays.iter().copied().collect();
        while let Some(number) = left.pop() {
            let all = graph.needs[number].iter().chain(&self.mapped[&number]).copied();
            left.extend(all.filter(|&other| stays.insert(other)));
        }
        let goes: Vec<usize> = self.initialised.iter().rev().copied().filter(|it| !stays.contains(it)).collect();
        self.initialised.retain(|it| stays.contains(it));
        self.global.retain(|it| stays.contains(it));
        self.mapped.retain(|it, _| stays.contains(it));
        goes
    }

    fn check(&self, graph: &Graph, process: &Process) {
        let mut names = process.names();
        names.sort_unstable();
        assert_eq!(names, self.mapped.keys().map(|&number| NAMES[number]).collect::<Vec<_>>());
        assert_eq!(process.sys.os().mapped(), 2 + self.mapped.len(), "nothing else is mapped");
        for (&number, bound) in &self.mapped {
            let index = process.number(NAMES[number]);
            for &other in &graph.refers[number] {
                let expected =
                    bound.contains(&other).then(|| process.bias(process.number(NAMES[other])) + DATA + 0x40);
                assert_eq!(
                    process.word(index, DATA + 8 * other as u64),
                    expected.unwrap_or(0),
                    "{number} to {other}"
                );
            }
        }
    }

    fn check_scopes(&self, graph: &Graph, process: &mut Process) {
        for &number in self.mapped.keys() {
            let (index, closure) = (process.number(NAMES[number]), graph.closure(number));
            for (other, name) in NAMES.iter().enumerate() {
                let definer = process.definer(Where::In(index), &format!("s{other}"));
                assert_eq!(definer, closure.contains(&other).then_some(*name));
            }
        }
        for (other, name) in NAMES.iter().enumerate() {
            let definer = process.definer(Where::Global, &format!("s{other}"));
            assert_eq!(definer, self.global.contains(&other).then_some(*name));
        }
    }
}

fn step(graph: &Graph, process: &mut Process, model: &mut Model, random: &mut Random) {
    let number = random.below(LIBRARIES);
    match random.below(8) {
        0..3 if model.counts[number] != 0 => close(graph, process, model, number),
        3 => {
            let opening = process.begin_by(0, NAMES[number], NOLOAD | GLOBAL).unwrap();
            assert_eq!(opening.is_some(), model.mapped.contains_key(&number));
            if opening.is_some() {
                model.open(graph, number, GLOBAL, &[]);
            }
        }
        choice => {
            let flags = [GLOBAL, 0, 0][choice % 3] | if random.below(40) == 0 { NODELETE } else { 0 };
            if choice == 4 {
                process.sys.fail_after(random.below(12));
            }
            let before = process.state();
            let result = process.begin_by(0, NAMES[number], flags);
            let failed = choice == 4 && process.sys.repair();
            let Ok(opening) = result else {
                assert!(failed);
                assert_eq!(process.state(), before);
                return;
            };
            let opening = opening.unwrap();
            process.initialise(&opening);
            let fresh = opening.fresh.iter().map(|&index| process.name(index));
            let fresh: Vec<usize> = fresh.map(|name| NAMES.iter().position(|&it| it == name).unwrap()).collect();
            model.open(graph, number, flags, &fresh);
        }
    }
}

fn close(graph: &Graph, process: &mut Process, model: &mut Model, number: usize) {
    let gone = process.close(process.number(NAMES[number]));
    let expected: Vec<&str> = model.close(graph, number).into_iter().map(|number| NAMES[number]).collect();
    assert_eq!(gone, expected);
}

#[test]
fn what_is_there_is_what_has_to_be() {
    for seed in 1..=GRAPHS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let graph = Graph::random(&mut random);
        let (mut process, mut model) = (graph.process(), Model::default());
        for _ in 0..SEQUENCES {
            for _ in 0..STEPS {
                step(&graph, &mut process, &mut model, &mut random);
                model.check(&graph, &process);
            }
            model.check_scopes(&graph, &mut process);
            for number in 0..LIBRARIES {
                while model.counts[number] != 0 {
                    close(&graph, &mut process, &mut model, number);
                }
            }
            model.check(&graph, &process);
        }
    }
}
