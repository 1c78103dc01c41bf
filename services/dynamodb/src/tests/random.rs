//! Random items, expressions and requests: trees of [`super::naive`] and the texts that say them.

use super::naive::{Action, Condition, Expr, Map, Operand, Path, Step};
use super::*;
use crate::testing::Random;

const NUMBERS: [&str; 8] = ["0", "1", "2", "-7", "12.5", "-0.001", "100000000000000000000", "3e-9"];
const TEXTS: [&str; 6] = ["a", "ab", "b", "ß~", "水", "abc"];
const BYTES: [&str; 4] = ["YQ==", "YWI=", "Yg==", "AA=="];
const KINDS: [&str; 10] = ["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"];
const NAMES: [&str; 6] = ["aa", "bb", "cc", "dd", "ee", "ff"];

fn pick(r: &mut Random, from: &[&'static str]) -> &'static str {
    r.pick::<&'static str>(from)
}

fn some(r: &mut Random, from: &[&str]) -> Vec<String> {
    let start = r.below(from.len() as u64) as usize;
    let count = 1 + r.below(2) as usize;
    (0..count).map(|i| from[(start + i) % from.len()].to_owned()).collect()
}

fn of_kind(r: &mut Random, kind: &str, depth: u32) -> Json {
    match kind {
        "S" => json!({"S": pick(r, &TEXTS)}),
        "N" => json!({"N": pick(r, &NUMBERS)}),
        "B" => json!({"B": pick(r, &BYTES)}),
        "BOOL" => json!({"BOOL": r.below(2) == 0}),
        "NULL" => json!({"NULL": true}),
        "SS" => json!({"SS": some(r, &TEXTS)}),
        "NS" => json!({"NS": some(r, &NUMBERS)}),
        "BS" => json!({"BS": some(r, &BYTES)}),
        "L" => json!({"L": (0..r.below(4)).map(|_| value(r, depth - 1)).collect::<Vec<_>>()}),
        _ => json!({"M": attributes(r, depth - 1)}),
    }
}

/// A value at most so many levels deep.
pub(super) fn value(r: &mut Random, depth: u32) -> Json {
    let kinds = if depth == 0 { 8 } else { 10 };
    let kind = KINDS[r.below(kinds) as usize];
    of_kind(r, kind, depth)
}

/// A few attributes `aa` to `ff`.
pub(super) fn attributes(r: &mut Random, depth: u32) -> Map {
    (0..r.below(5)).map(|_| (pick(r, &NAMES).to_owned(), value(r, depth))).collect()
}

fn path_under(r: &mut Random, root: &str) -> Path {
    let mut path = vec![Step::Name(root.to_owned())];
    // Attributes that indexes have as keys in some tests: paths into those are refused, so there are few.
    let often = if matches!(root, "aa" | "bb" | "ee") { 60 } else { 2 };
    while r.below(often) == 0 && path.len() < 4 {
        path.push(if r.below(2) == 0 {
            Step::Name(pick(r, &NAMES).to_owned())
        } else {
            Step::Index(r.below(4) as usize)
        });
    }
    path
}

/// A path, now and then with a few steps.
pub(super) fn path(r: &mut Random) -> Path {
    let root = pick(r, &NAMES);
    path_under(r, root)
}

/// A value that can be put in order.
fn ordered(r: &mut Random) -> Json {
    let kind = *r.pick(&["S", "N", "B"]);
    of_kind(r, kind, 0)
}

fn condition_of(r: &mut Random, depth: u32) -> Condition {
    let kinds = if depth == 0 { 8 } else { 11 };
    let left = path(r);
    match r.below(kinds) {
        0 => {
            let how = *r.pick(&["=", "<>"]);
            Condition::Compare(Operand::Path(left), how, Operand::Value(value(r, 2)))
        }
        1 => {
            let how = *r.pick(&["<", "<=", ">", ">="]);
            Condition::Compare(Operand::Path(left), how, Operand::Value(ordered(r)))
        }
        2 => {
            let how = *r.pick(&["=", "<>", "<", "<=", ">", ">="]);
            let count = json!({"N": r.below(4).to_string()});
            match r.below(3) {
                0 => Condition::Compare(Operand::Size(left), how, Operand::Value(count)),
                _ => {
                    let other = path(r);
                    let other = if other == left { Operand::Size(other) } else { Operand::Path(other) };
                    Condition::Compare(Operand::Path(left), how, other)
                }
            }
        }
        3 => {
            let (kind, low, high) = *r.pick(&[("N", "-7", "2"), ("S", "a", "ab"), ("B", "YQ==", "Yg==")]);
            let bound = |text: &str| Operand::Value(json!({ kind: text }));
            Condition::Between(Operand::Path(left), bound(low), bound(high))
        }
        4 => Condition::In(Operand::Path(left), (0..1 + r.below(3)).map(|_| Operand::Value(value(r, 1))).collect()),
        5 => Condition::Exists(left, r.below(2) == 0),
        6 => Condition::Type(left, pick(r, &KINDS)),
        7 if r.below(2) == 0 => {
            let kind = *r.pick(&["S", "B"]);
            Condition::Begins(left, of_kind(r, kind, 0))
        }
        7 => Condition::Contains(left, Operand::Value(value(r, 1))),
        8 => Condition::Not(Box::new(condition_of(r, depth - 1))),
        9 => Condition::And((0..2 + r.below(2)).map(|_| condition_of(r, depth - 1)).collect()),
        _ => Condition::Or((0..2 + r.below(2)).map(|_| condition_of(r, depth - 1)).collect()),
    }
}

/// A random condition.
pub(super) fn condition(r: &mut Random) -> Condition {
    condition_of(r, 3)
}

fn expr(r: &mut Random, depth: u32) -> Expr {
    match r.below(if depth == 0 { 3 } else { 5 }) {
        0 => Expr::Path(path(r)),
        1 | 2 => Expr::Value(value(r, 2)),
        3 => Expr::IfNotExists(path(r), Box::new(Expr::Value(value(r, 1)))),
        _ if r.below(2) == 0 => {
            let list = of_kind(r, "L", 1);
            let first = if r.below(2) == 0 { Expr::Path(path(r)) } else { Expr::Value(of_kind(r, "L", 1)) };
            Expr::Append(Box::new(first), Box::new(Expr::Value(list)))
        }
        _ => {
            let number = Expr::Value(of_kind(r, "N", 0));
            let first = if r.below(2) == 0 { Expr::Path(path(r)) } else { Expr::Value(of_kind(r, "N", 0)) };
            Expr::Sum(Box::new(first), *r.pick(&['+', '-']), Box::new(number))
        }
    }
}

/// One to three changes of different attributes.
pub(super) fn update(r: &mut Random) -> Vec<Action> {
    let start = r.below(6) as usize;
    let count = 1 + r.below(3) as usize;
    let one = |i: usize| {
        let path = path_under(r, NAMES[(start + i) % NAMES.len()]);
        match r.below(6) {
            0..=2 => Action::Set(path, expr(r, 1)),
            3 => Action::Remove(path),
            4 => {
                let kind = *r.pick(&["N", "SS", "NS", "BS"]);
                Action::Add(path, of_kind(r, kind, 0))
            }
            _ => {
                let kind = *r.pick(&["SS", "NS", "BS"]);
                Action::Delete(path, of_kind(r, kind, 0))
            }
        }
    };
    (0..count).map(one).collect()
}

/// Writes trees out, and gathers the placeholders that they need.
#[derive(Default)]
pub(super) struct Writer {
    names: Map,
    values: Map,
    toggle: bool,
}

impl Writer {
    pub(super) fn path(&mut self, path: &[Step]) -> String {
        let mut text = String::new();
        for step in path {
            match step {
                Step::Name(name) => {
                    text.push_str(if text.is_empty() { "" } else { "." });
                    // Every other name goes by a placeholder.
                    self.toggle = !self.toggle;
                    if self.toggle {
                        self.names.insert(format!("#{name}"), json!(name));
                        text.push('#');
                    }
                    text.push_str(name);
                }
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }

    fn value(&mut self, value: &Json) -> String {
        let key = format!(":v{}", self.values.len());
        self.values.insert(key.clone(), value.clone());
        key
    }

    fn operand(&mut self, operand: &Operand) -> String {
        match operand {
            Operand::Path(path) => self.path(path),
            Operand::Value(value) => self.value(value),
            Operand::Size(path) => format!("size({})", self.path(path)),
        }
    }

    pub(super) fn condition(&mut self, condition: &Condition) -> String {
        let mut joined = |all: &[Condition], word: &str| {
            let parts: Vec<String> = all.iter().map(|c| format!("({})", self.condition(c))).collect();
            parts.join(word)
        };
        match condition {
            Condition::And(all) => joined(all, " AND "),
            Condition::Or(any) => joined(any, " or "),
            Condition::Not(inner) => format!("NOT ({})", self.condition(inner)),
            Condition::Compare(a, how, b) => format!("{} {how} {}", self.operand(a), self.operand(b)),
            Condition::Between(a, low, high) => {
                format!("{} between {} AND {}", self.operand(a), self.operand(low), self.operand(high))
            }
            Condition::In(a, all) => {
                let first = self.operand(a);
                let all: Vec<String> = all.iter().map(|o| self.operand(o)).collect();
                format!("{first} IN ({})", all.join(", "))
            }
            Condition::Exists(path, true) => format!("attribute_exists({})", self.path(path)),
            Condition::Exists(path, false) => format!("attribute_not_exists({})", self.path(path)),
            Condition::Type(path, kind) => {
                format!("attribute_type({}, {})", self.path(path), self.value(&json!({"S": kind})))
            }
            Condition::Begins(path, prefix) => format!("begins_with({}, {})", self.path(path), self.value(prefix)),
            Condition::Contains(path, part) => format!("contains({}, {})", self.path(path), self.operand(part)),
        }
    }

    fn expr(&mut self, expr: &Expr) -> String {
        match expr {
            Expr::Path(path) => self.path(path),
            Expr::Value(value) => self.value(value),
            Expr::IfNotExists(path, other) => format!("if_not_exists({}, {})", self.path(path), self.expr(other)),
            Expr::Append(a, b) => format!("list_append({}, {})", self.expr(a), self.expr(b)),
            Expr::Sum(a, sign, b) => format!("{} {sign} {}", self.expr(a), self.expr(b)),
        }
    }

    pub(super) fn update(&mut self, actions: &[Action]) -> String {
        let mut sections = [("SET", Vec::new()), ("REMOVE", Vec::new()), ("ADD", Vec::new()), ("DELETE", Vec::new())];
        for action in actions {
            let (section, text) = match action {
                Action::Set(path, expr) => (0, format!("{} = {}", self.path(path), self.expr(expr))),
                Action::Remove(path) => (1, self.path(path)),
                Action::Add(path, value) => (2, format!("{} {}", self.path(path), self.value(value))),
                Action::Delete(path, value) => (3, format!("{} {}", self.path(path), self.value(value))),
            };
            sections[section].1.push(text);
        }
        let full = sections.iter().filter(|(_, parts)| !parts.is_empty());
        full.map(|(word, parts)| format!("{word} {}", parts.join(", "))).collect::<Vec<_>>().join(" ")
    }

    /// Adds the placeholders to a request.
    pub(super) fn finish(self, request: &mut Json) {
        if !self.names.is_empty() {
            request["ExpressionAttributeNames"] = Json::Object(self.names);
        }
        if !self.values.is_empty() {
            request["ExpressionAttributeValues"] = Json::Object(self.values);
        }
    }
}
