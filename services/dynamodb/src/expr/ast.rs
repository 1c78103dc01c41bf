//! The trees of expressions, with all placeholders resolved.

use crate::item::{Item, Kind, Value};
use std::fmt;
use std::sync::Arc;

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `.name`
    Attribute(String),
    /// `[index]`
    Index(usize),
}

/// A path to an attribute or to something inside of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Top-level attribute.
    pub root: String,
    /// Further steps.
    pub steps: Vec<Step>,
}

impl Path {
    /// A top-level attribute.
    pub fn attribute(name: impl Into<String>) -> Path {
        Path { root: name.into(), steps: Vec::new() }
    }

    /// What the path leads to in an item.
    pub fn find<'i>(&self, item: &'i Item) -> Option<&'i Value> {
        self.steps.iter().try_fold(item.get(&self.root)?, |value, step| match (step, value) {
            (Step::Attribute(name), Value::M(map)) => map.get(name),
            (Step::Index(index), Value::L(list)) => list.get(*index),
            _ => None,
        })
    }

    /// Whether one path leads into (or is) the other.
    pub fn overlaps(&self, other: &Path) -> bool {
        self.root == other.root && self.steps.iter().zip(&other.steps).all(|(a, b)| a == b)
    }

    /// Whether the paths treat one value both as a map and as a list.
    pub fn conflicts(&self, other: &Path) -> bool {
        let differ = self.steps.iter().zip(&other.steps).find(|(a, b)| a != b);
        self.root == other.root
            && matches!(differ, Some((Step::Attribute(_), Step::Index(_)) | (Step::Index(_), Step::Attribute(_))))
    }
}

/// `[a, b, [0]]`, as messages print paths.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", self.root)?;
        for step in &self.steps {
            match step {
                Step::Attribute(name) => write!(f, ", {name}")?,
                Step::Index(index) => write!(f, ", [{index}]")?,
            }
        }
        f.write_str("]")
    }
}

/// Comparators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl Compare {
    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Compare::Eq => "=",
            Compare::Ne => "<>",
            Compare::Lt => "<",
            Compare::Le => "<=",
            Compare::Gt => ">",
            Compare::Ge => ">=",
        }
    }

    /// The comparator that says the same with its operands exchanged.
    #[must_use]
    pub fn mirrored(self) -> Compare {
        match self {
            Compare::Lt => Compare::Gt,
            Compare::Le => Compare::Ge,
            Compare::Gt => Compare::Lt,
            Compare::Ge => Compare::Le,
            same => same,
        }
    }
}

/// What a condition compares.
#[derive(Clone, Debug)]
pub enum Operand {
    /// Something in the item.
    Path(Path),
    /// A value of the request.
    Value(Arc<Value>),
    /// `size(…)` of something.
    Size(Box<Operand>),
}

impl Operand {
    /// The type, where it does not depend on the item.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Operand::Path(_) => None,
            Operand::Value(value) => Some(value.kind()),
            Operand::Size(_) => Some(Kind::N),
        }
    }
}

/// A condition over an item.
#[derive(Clone, Debug)]
pub enum Condition {
    /// All hold.
    And(Vec<Condition>),
    /// One holds.
    Or(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
    /// Two operands compare so.
    Compare(Operand, Compare, Operand),
    /// The first lies between the others, both included.
    Between(Operand, Operand, Operand),
    /// The first equals one of the others.
    In(Operand, Vec<Operand>),
    /// There is something at the path.
    Exists(Path),
    /// There is nothing at the path.
    NotExists(Path),
    /// What is there has this type.
    Type(Operand, Kind),
    /// The first begins with the second.
    BeginsWith(Operand, Operand),
    /// The first contains the second.
    Contains(Operand, Operand),
}

impl Operand {
    fn visit<'c>(&'c self, see: &mut dyn FnMut(&'c Path)) {
        match self {
            Operand::Path(path) => see(path),
            Operand::Value(_) => {}
            Operand::Size(inner) => inner.visit(see),
        }
    }
}

impl Condition {
    /// Shows every path that the condition looks at.
    pub fn visit<'c>(&'c self, see: &mut dyn FnMut(&'c Path)) {
        match self {
            Condition::And(all) | Condition::Or(all) => all.iter().for_each(|c| c.visit(see)),
            Condition::Not(inner) => inner.visit(see),
            Condition::Exists(path) | Condition::NotExists(path) => see(path),
            Condition::Type(a, _) => a.visit(see),
            Condition::Compare(a, _, b) | Condition::BeginsWith(a, b) | Condition::Contains(a, b) => {
                [a, b].into_iter().for_each(|o| o.visit(see));
            }
            Condition::Between(a, b, c) => [a, b, c].into_iter().for_each(|o| o.visit(see)),
            Condition::In(a, members) => std::iter::once(a).chain(members).for_each(|o| o.visit(see)),
        }
    }
}

/// A value that an update computes from the old item.
#[derive(Clone, Debug)]
pub enum Expr {
    /// What is at a path.
    Path(Path),
    /// A value of the request.
    Value(Arc<Value>),
    /// What is at the path, else the other.
    IfNotExists(Path, Box<Expr>),
    /// Two lists as one.
    ListAppend(Box<Expr>, Box<Expr>),
    /// A sum.
    Plus(Box<Expr>, Box<Expr>),
    /// A difference.
    Minus(Box<Expr>, Box<Expr>),
}

impl Expr {
    /// The type, where it does not depend on the item.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Expr::Value(value) => Some(value.kind()),
            Expr::ListAppend(..) => Some(Kind::L),
            Expr::Plus(..) | Expr::Minus(..) => Some(Kind::N),
            Expr::Path(_) | Expr::IfNotExists(..) => None,
        }
    }

    fn visit<'c>(&'c self, see: &mut dyn FnMut(&'c Path)) {
        match self {
            Expr::Path(path) => see(path),
            Expr::Value(_) => {}
            Expr::IfNotExists(path, other) => {
                see(path);
                other.visit(see);
            }
            Expr::ListAppend(a, b) | Expr::Plus(a, b) | Expr::Minus(a, b) => {
                a.visit(see);
                b.visit(see);
            }
        }
    }
}

/// One change of an update.
#[derive(Clone, Debug)]
pub enum Action {
    /// `SET path = value`
    Set(Path, Expr),
    /// `REMOVE path`
    Remove(Path),
    /// `ADD path value`
    Add(Path, Arc<Value>),
    /// `DELETE path value`
    Delete(Path, Arc<Value>),
}

impl Action {
    /// Where the change happens.
    pub fn path(&self) -> &Path {
        match self {
            Action::Set(p, _) | Action::Remove(p) | Action::Add(p, _) | Action::Delete(p, _) => p,
        }
    }
}

/// The changes of an update, in the order of the text.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Changes, none overlapping another.
    pub actions: Vec<Action>,
    /// They came as `AttributeUpdates`: some refusals are worded otherwise.
    pub is_legacy: bool,
}

impl Update {
    /// Whether it has changes and none of them adds anything.
    pub fn only_takes(&self) -> bool {
        let takes = |action: &Action| matches!(action, Action::Remove(_) | Action::Delete(..));
        !self.actions.is_empty() && self.actions.iter().all(takes)
    }

    /// Shows every path that the update changes or reads.
    pub fn visit<'c>(&'c self, see: &mut dyn FnMut(&'c Path)) {
        for action in &self.actions {
            see(action.path());
            if let Action::Set(_, expr) = action {
                expr.visit(see);
            }
        }
    }
}
