//! The functions of conditions: which there are, what they take, where they may stand.

use super::ast::{Condition, Operand, Path};
use super::parser::{Parser, Rank, Raw};
use crate::item::{Kind, Value};
use std::sync::Arc;

/// Stands in for what could not be read; the noted fault is told before it is ever used.
fn nothing() -> Operand {
    Operand::Value(Arc::new(Value::Null))
}

impl Parser<'_> {
    /// An operand of a comparison or function; of the calls only `size` is one.
    pub(super) fn operand(&mut self, raw: Raw) -> Operand {
        let (name, arguments) = match raw {
            Raw::Path(path) => return Operand::Path(path),
            Raw::Value(value) => return Operand::Value(value),
            Raw::Call(name, arguments) => (name, arguments),
        };
        let count = arguments.len();
        let operands: Vec<Operand> = arguments.into_iter().map(|raw| self.operand(raw)).collect();
        match name.as_str() {
            "size" => {
                if !self.check_count(&name, count, 1) {
                    return nothing();
                }
                let Some(operand) = operands.into_iter().next() else { return nothing() };
                if let Some(kind @ (Kind::N | Kind::Bool | Kind::Null)) = operand.kind() {
                    self.wrong_type(&name, kind);
                }
                Operand::Size(Box::new(operand))
            }
            "attribute_exists" | "attribute_not_exists" | "attribute_type" | "begins_with" | "contains" => {
                self.misused(&name);
                nothing()
            }
            _ => {
                self.unknown_function(&name);
                nothing()
            }
        }
    }

    /// A call that stands where a condition stands.
    pub(super) fn predicate(&mut self, name: &str, arguments: Vec<Raw>) -> Condition {
        let count = arguments.len();
        let mut operands: Vec<Operand> = arguments.into_iter().map(|raw| self.operand(raw)).collect();
        let wanted = match name {
            "attribute_exists" | "attribute_not_exists" => 1,
            "attribute_type" | "begins_with" | "contains" => 2,
            "size" => {
                self.misused(name);
                return never();
            }
            _ => {
                self.unknown_function(name);
                return never();
            }
        };
        if !self.check_count(name, count, wanted) {
            return never();
        }
        let second = if wanted == 2 { operands.pop() } else { None }.unwrap_or_else(nothing);
        let first = operands.pop().unwrap_or_else(nothing);
        match name {
            "attribute_exists" => Condition::Exists(self.document_path(name, first)),
            "attribute_not_exists" => Condition::NotExists(self.document_path(name, first)),
            "attribute_type" => self.attribute_type(first, &second),
            "begins_with" => {
                for operand in [&first, &second] {
                    if let Some(kind) = operand.kind().filter(|k| !matches!(k, Kind::S | Kind::B)) {
                        self.wrong_type(name, kind);
                    }
                }
                self.check_distinct(name, &first, &second);
                Condition::BeginsWith(first, second)
            }
            _ => {
                if let Some(kind @ (Kind::N | Kind::Bool | Kind::Null | Kind::M)) = first.kind() {
                    self.wrong_type(name, kind);
                }
                self.check_distinct(name, &first, &second);
                Condition::Contains(first, second)
            }
        }
    }

    fn attribute_type(&mut self, first: Operand, second: &Operand) -> Condition {
        let wanted = match second {
            Operand::Value(value) => match &**value {
                Value::S(name) => Kind::of_name(name).ok_or_else(|| name.clone()),
                other => {
                    self.wrong_type("attribute_type", other.kind());
                    return never();
                }
            },
            _ => {
                self.note(
                    Rank::Operand,
                    "Incorrect operand type for operator or function; operator or function: attribute_type, operand \
                     type: M"
                        .into(),
                );
                return never();
            }
        };
        match wanted {
            Ok(kind) => Condition::Type(first, kind),
            Err(name) => {
                self.note(
                    Rank::Operand,
                    format!(
                        "Invalid attribute type name found; type: {name}, valid types: \
                         {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
                    ),
                );
                never()
            }
        }
    }

    pub(super) fn document_path(&mut self, function: &str, operand: Operand) -> Path {
        match operand {
            Operand::Path(path) => path,
            _ => {
                self.note(
                    Rank::Operand,
                    format!("Operator or function requires a document path; operator or function: {function}"),
                );
                Path::attribute("")
            }
        }
    }

    pub(super) fn check_count(&mut self, function: &str, count: usize, wanted: usize) -> bool {
        if count != wanted {
            self.note(
                Rank::Operand,
                format!(
                    "Incorrect number of operands for operator or function; operator or function: {function}, number \
                     of operands: {count}"
                ),
            );
        }
        count == wanted
    }

    fn misused(&mut self, function: &str) {
        self.note(
            Rank::Function,
            format!("The function is not allowed to be used this way in an expression; function: {function}"),
        );
    }

    pub(super) fn unknown_function(&mut self, function: &str) {
        self.note(Rank::Function, format!("Invalid function name; function: {function}"));
    }
}

/// Stands in for a condition whose fault is noted.
fn never() -> Condition {
    Condition::Or(Vec::new())
}
