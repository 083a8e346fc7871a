//! Breadth first through every reachable world; the first broken promise comes with the shortest
//! way to it.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;
use std::hash::{BuildHasherDefault, Hasher};

use crate::protocol::{Promise, Scenario};
use crate::world::{Step, World};

/// What an exploration found.
pub(crate) struct Found {
    /// Worlds seen.
    pub(crate) states: usize,
    /// Every kind of step that was taken.
    pub(crate) steps: BTreeSet<Step>,
    /// The promise that does not hold, and how it comes to that.
    pub(crate) broken: Option<(Promise, String)>,
}

struct Node {
    world: World,
    parent: usize,
    step: Step,
}

pub(crate) fn explore(scenario: &Scenario) -> Found {
    let first = World::new(scenario);
    let mut seen = HashSet::<World, BuildHasherDefault<Mix>>::default();
    let mut nodes = vec![Node {
        world: first,
        parent: 0,
        step: ("start", ""),
    }];
    seen.insert(first);
    let mut steps = BTreeSet::new();
    let mut at = 0;
    while at < nodes.len() {
        let world = nodes[at].world;
        let mut broken = world.check().err();
        let mut last = broken.map(|_| ("this world", "is not as promised"));
        if broken.is_none() {
            broken = world.check_end(scenario).err();
            last = broken.map(|_| ("a last sweep", "comes by and is not disturbed"));
        }
        if broken.is_none() {
            world.steps(scenario, &mut |step, outcome| match outcome {
                Ok(world) => {
                    steps.insert(step);
                    if seen.insert(world) {
                        nodes.push(Node {
                            world,
                            parent: at,
                            step,
                        });
                    }
                }
                Err(promise) => {
                    broken.get_or_insert(promise);
                    last.get_or_insert(step);
                }
            });
        }
        if let Some(promise) = broken {
            return Found {
                states: seen.len(),
                steps,
                broken: Some((promise, trace(&nodes, at, last))),
            };
        }
        at += 1;
    }
    Found {
        states: seen.len(),
        steps,
        broken: None,
    }
}

fn trace(nodes: &[Node], mut at: usize, last: Option<Step>) -> String {
    let mut path = vec![at];
    while at != 0 {
        at = nodes[at].parent;
        path.push(at);
    }
    let mut text = String::new();
    for node in path.into_iter().rev().map(|at| &nodes[at]) {
        let (who, what) = node.step;
        writeln!(text, "{who} {what}\n        {}", node.world.summary()).unwrap();
    }
    if let Some((who, what)) = last {
        writeln!(text, "{who} {what}: here").unwrap();
    }
    text
}

/// A fast hash; nobody attacks a model.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
}
