//! What tests share: a small deterministic generator of values.

use crate::item::{Item, Value};
use crate::number::Number;

/// A splitmix64 sequence, so that a failing case is found again by its seed.
pub struct Random(u64);

impl Random {
    /// Starts the sequence of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// How often a random test goes round: `base` times, or `SQUALL_TEST_TIMES` as often.
pub fn rounds(base: usize) -> usize {
    let times = std::env::var("SQUALL_TEST_TIMES").ok().and_then(|text| text.parse().ok());
    base * times.unwrap_or(1)
}

/// A random value, at most `depth` levels deep.
pub fn random_value(r: &mut Random, depth: u32) -> Value {
    let kinds = if depth == 0 { 8 } else { 10 };
    match r.below(kinds) {
        0 => Value::S(random_text(r)),
        1 => Value::N(random_number(r)),
        2 => Value::B(random_text(r).into_bytes()),
        3 => Value::Bool(r.below(2) == 0),
        4 => Value::Null,
        5 => Value::Ss(random_set(r, random_text)),
        6 => Value::Ns(random_set(r, random_number)),
        7 => Value::Bs(random_set(r, |r| random_text(r).into_bytes())),
        8 => Value::L((0..r.below(4)).map(|_| random_value(r, depth - 1)).collect()),
        _ => Value::M((0..r.below(4)).map(|_| (random_name(r), random_value(r, depth - 1))).collect()),
    }
}

/// A random item of a few attributes `a` to `f`.
pub fn random_item(r: &mut Random) -> Item {
    (0..r.below(6)).map(|_| (random_name(r), random_value(r, 3))).collect()
}

/// One of a few attribute names.
pub fn random_name(r: &mut Random) -> String {
    (*r.pick(&["a", "b", "c", "d", "e", "f"])).to_owned()
}

fn random_text(r: &mut Random) -> String {
    (0..r.below(5)).map(|_| *r.pick(&['a', 'b', 'ß', '水', '~'])).collect()
}

fn random_number(r: &mut Random) -> Number {
    let digits = *r.pick(&["0", "1", "-7", "12.5", "1e20", "-3e-9", "99999999999999999999999999999999999999"]);
    Number::parse(digits).expect("the texts above are numbers")
}

fn random_set<T: Ord>(r: &mut Random, make: impl Fn(&mut Random) -> T) -> Vec<T> {
    let mut members: Vec<T> = (0..1 + r.below(3)).map(|_| make(r)).collect();
    members.sort();
    members.dedup();
    members
}
