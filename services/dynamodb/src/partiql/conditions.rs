//! The WHERE clause, read into the conditions that expressions have.

use super::lexer::{Token, malformed};
use super::parser::Parser;
use crate::error::Error;
use crate::expr::ast::{Compare, Condition, Operand};
use crate::item::{Kind, Value};
use std::sync::Arc;

/// Most operands of IN.
const IN_OPERANDS_MAX: usize = 100;

/// What stands where an operand or a condition may.
enum Node {
    Operand(Operand),
    Condition(Condition),
}

impl Parser {
    /// `WHERE condition`, if it is there.
    pub(super) fn condition_clause(&mut self) -> Result<Option<Condition>, Error> {
        if !self.eat_word("WHERE") {
            return Ok(None);
        }
        let node = self.any_of()?;
        self.condition(node).map(Some)
    }

    fn condition(&self, node: Node) -> Result<Condition, Error> {
        match node {
            Node::Condition(condition) => Ok(condition),
            Node::Operand(_) => Err(malformed("Expected a condition")),
        }
    }

    fn any_of(&mut self) -> Result<Node, Error> {
        let first = self.all_of()?;
        if !self.peek_word("OR") {
            return Ok(first);
        }
        let mut all = vec![self.condition(first)?];
        while self.eat_word("OR") {
            let next = self.all_of()?;
            all.push(self.condition(next)?);
        }
        Ok(Node::Condition(Condition::Or(all)))
    }

    fn all_of(&mut self) -> Result<Node, Error> {
        let first = self.one()?;
        if !self.peek_word("AND") {
            return Ok(first);
        }
        let mut all = vec![self.condition(first)?];
        while self.eat_word("AND") {
            let next = self.one()?;
            all.push(self.condition(next)?);
        }
        Ok(Node::Condition(Condition::And(all)))
    }

    fn one(&mut self) -> Result<Node, Error> {
        // A loop, so that a row of NOTs costs no depth.
        let mut negated = None;
        while self.eat_word("NOT") {
            negated = Some(!negated.unwrap_or(false));
        }
        let node = self.compared()?;
        let Some(negated) = negated else { return Ok(node) };
        let condition = self.condition(node)?;
        Ok(Node::Condition(if negated { Condition::Not(Box::new(condition)) } else { condition }))
    }

    /// An operand with what it is compared to, or a condition that needs no comparison.
    fn compared(&mut self) -> Result<Node, Error> {
        let operand = match self.primary()? {
            Node::Operand(operand) => operand,
            condition => return Ok(condition),
        };
        if let Some(Token::Compare(compare)) = self.peek() {
            let compare = *compare;
            self.advance();
            let other = self.operand()?;
            return Ok(Node::Condition(Condition::Compare(operand, compare, other)));
        }
        if self.eat_word("IS") {
            return self.is(operand);
        }
        let negated = self.eat_word("NOT");
        let condition = if self.eat_word("BETWEEN") {
            let low = self.operand()?;
            self.expect_word("AND")?;
            let high = self.operand()?;
            Condition::Between(operand, low, high)
        } else if self.eat_word("IN") {
            Condition::In(operand, self.choices()?)
        } else if negated {
            return Err(self.unexpected());
        } else {
            return Ok(Node::Operand(operand));
        };
        Ok(Node::Condition(if negated { Condition::Not(Box::new(condition)) } else { condition }))
    }

    /// `IS [NOT] MISSING | NULL`
    fn is(&mut self, operand: Operand) -> Result<Node, Error> {
        let negated = self.eat_word("NOT");
        let missing = self.eat_word("MISSING");
        let condition = if missing {
            match operand {
                Operand::Path(path) => Condition::NotExists(path),
                _ => return Err(malformed("Expected a path before IS MISSING")),
            }
        } else {
            self.expect_word("NULL")?;
            Condition::Type(operand, Kind::Null)
        };
        Ok(Node::Condition(if negated { Condition::Not(Box::new(condition)) } else { condition }))
    }

    fn choices(&mut self) -> Result<Vec<Operand>, Error> {
        let mut out = Vec::new();
        if self.eat(&Token::Char('(')) {
            out.push(self.operand()?);
            while self.eat(&Token::Char(',')) {
                out.push(self.operand()?);
            }
            self.expect(&Token::Char(')'))?;
        } else {
            match self.literal()? {
                Some(Value::L(values)) => out.extend(values.into_iter().map(|v| Operand::Value(Arc::new(v)))),
                _ => return Err(self.unexpected()),
            }
        }
        if out.len() > IN_OPERANDS_MAX {
            return Err(Error::validation(format!(
                "The IN operator is provided with too many operands; number of operands: {}",
                out.len()
            )));
        }
        Ok(out)
    }

    fn operand(&mut self) -> Result<Operand, Error> {
        match self.primary()? {
            Node::Operand(operand) => Ok(operand),
            Node::Condition(_) => Err(self.unexpected()),
        }
    }

    fn primary(&mut self) -> Result<Node, Error> {
        if self.eat(&Token::Char('(')) {
            self.deeper()?;
            let inner = self.any_of()?;
            self.expect(&Token::Char(')'))?;
            self.shallower();
            return Ok(inner);
        }
        for function in
            ["begins_with", "contains", "attribute_type", "size", "attribute_exists", "attribute_not_exists"]
        {
            if self.peek_call(function) {
                return self.call(function);
            }
        }
        if let Some(value) = self.literal()? {
            return Ok(Node::Operand(Operand::Value(Arc::new(value))));
        }
        Ok(Node::Operand(Operand::Path(self.path()?)))
    }

    fn call(&mut self, function: &str) -> Result<Node, Error> {
        self.advance();
        self.advance();
        self.deeper()?;
        let first = self.operand()?;
        let second = if self.eat(&Token::Char(',')) { Some(self.operand()?) } else { None };
        self.expect(&Token::Char(')'))?;
        self.shallower();
        let wrong_count = || {
            let count = 1 + usize::from(second.is_some());
            Error::validation(format!(
                "Incorrect number of operands for operator or function; operator or function: {function}, number of \
                 operands: {count}"
            ))
        };
        Ok(Node::Condition(match (function, first, &second) {
            ("size", first, None) => return Ok(Node::Operand(Operand::Size(Box::new(first)))),
            ("begins_with", first, Some(second)) => Condition::BeginsWith(first, second.clone()),
            ("contains", first, Some(second)) => Condition::Contains(first, second.clone()),
            ("attribute_exists", Operand::Path(path), None) => Condition::Exists(path),
            ("attribute_not_exists", Operand::Path(path), None) => Condition::NotExists(path),
            ("attribute_type", first, Some(Operand::Value(kind))) => Condition::Type(first, kind_of(kind)?),
            _ => return Err(wrong_count()),
        }))
    }
}

/// The type that `attribute_type` asks for: by its short name or the long one.
fn kind_of(value: &Value) -> Result<Kind, Error> {
    let Value::S(name) = value else {
        return Err(Error::validation(format!(
            "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: {}",
            value.kind().name()
        )));
    };
    Kind::of_name(name).ok_or_else(|| {
        Error::validation(format!(
            "Invalid attribute type name found; type: {name}, valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}"
        ))
    })
}

/// A comparison of the attribute with a value, if the condition is one.
pub(super) fn equality<'c>(condition: &'c Condition, name: &str) -> Option<&'c Arc<Value>> {
    match condition {
        Condition::Compare(Operand::Path(path), Compare::Eq, Operand::Value(value))
        | Condition::Compare(Operand::Value(value), Compare::Eq, Operand::Path(path))
            if path.steps.is_empty() && path.root == name =>
        {
            Some(value)
        }
        _ => None,
    }
}
