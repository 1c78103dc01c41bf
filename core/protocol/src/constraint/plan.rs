//! Which shapes have constraints somewhere inside, worked out once per input so that checking can pass over the rest.

use crate::schema::{Kind, Shape};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{OnceLock, RwLock};

/// Shapes by address, with whether they or anything inside them is constrained. One entry per shape of the tables at most.
#[derive(Debug, Default)]
pub(super) struct Plan {
    constrained: Constrained,
}

type Constrained = HashMap<usize, bool, BuildHasherDefault<Spread>>;

/// A hash for addresses of our own tables, which nobody can choose: one multiplication instead of SipHash, several times a
/// request.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_usize(usize::from(*b)));
    }

    fn write_usize(&mut self, n: usize) {
        // The map takes its place from the low bits and its tag from the high ones; addresses differ in the middle.
        self.0 = (self.0 ^ n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

fn key(shape: &'static Shape) -> usize {
    std::ptr::from_ref(shape).addr()
}

impl Plan {
    /// Runs `f` with a plan that knows everything inside `shape`.
    pub(super) fn with<T>(shape: &'static Shape, f: impl FnOnce(&Plan) -> T) -> T {
        static ALL: OnceLock<RwLock<Plan>> = OnceLock::new();
        let all = ALL.get_or_init(Default::default);
        // A poisoned plan is still true: entries are written whole, after they are worked out.
        let known = all.read().unwrap_or_else(|e| e.into_inner());
        if known.constrained.contains_key(&key(shape)) {
            return f(&known);
        }
        drop(known);
        let more = work_out(shape);
        all.write().unwrap_or_else(|e| e.into_inner()).constrained.extend(more);
        f(&all.read().unwrap_or_else(|e| e.into_inner()))
    }

    /// Whether a value of the shape can break a constraint, itself or by what it holds.
    pub(super) fn constrains(&self, shape: &'static Shape) -> bool {
        self.constrained.get(&key(shape)).copied().unwrap_or(true)
    }
}

/// Shapes refer to each other in circles, so constraints spread along references until nothing changes.
fn work_out(root: &'static Shape) -> Constrained {
    let mut reached: Vec<&'static Shape> = vec![root];
    let mut constrained = Constrained::default();
    constrained.insert(key(root), requires(root));
    let mut at = 0;
    while let Some(shape) = reached.get(at).copied() {
        at += 1;
        for part in parts(shape) {
            constrained.entry(key(part)).or_insert_with(|| {
                reached.push(part);
                has_own(part) || requires(part)
            });
        }
    }
    loop {
        let mut changed = false;
        for shape in &reached {
            let is = |s: &'static Shape| constrained.get(&key(s)).copied().unwrap_or(false);
            if !is(shape) && parts(shape).any(is) {
                constrained.insert(key(shape), true);
                changed = true;
            }
        }
        if !changed {
            return constrained;
        }
    }
}

fn parts(shape: &'static Shape) -> impl Iterator<Item = &'static Shape> {
    let (first, second) = match &shape.kind {
        Kind::List { member, .. } => (Some(*member), None),
        Kind::Map { key, value, .. } => (Some(*key), Some(*value)),
        _ => (None, None),
    };
    first.into_iter().chain(second).chain(shape.members().iter().map(|m| m.shape))
}

fn requires(shape: &'static Shape) -> bool {
    shape.members().iter().any(|m| m.required)
}

/// Whether values of the shape can break a constraint of their own.
pub(super) fn has_own(shape: &Shape) -> bool {
    let length = |min: &Option<u64>, max: &Option<u64>| max.is_some() || min.is_some_and(|m| m > 0);
    match &shape.kind {
        Kind::String { min, max, pattern, options } => length(min, max) || pattern.is_some() || !options.is_empty(),
        Kind::Blob { min, max, .. } | Kind::List { min, max, .. } | Kind::Map { min, max, .. } => length(min, max),
        Kind::Integer { min, max } | Kind::Long { min, max } => min.is_some() || max.is_some(),
        Kind::Double { min, max } => min.is_some() || max.is_some(),
        Kind::Boolean | Kind::Timestamp(_) | Kind::Structure { .. } | Kind::Document => false,
    }
}
