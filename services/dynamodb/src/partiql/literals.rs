//! Values that a statement spells out: scalars, lists, maps, sets.

use super::lexer::{Token, malformed};
use super::parser::Parser;
use crate::error::Error;
use crate::item::{Item, Kind, Value, has_duplicates};
use crate::number::Number;

impl Parser {
    /// A literal or a parameter, if one begins here.
    pub(super) fn literal(&mut self) -> Result<Option<Value>, Error> {
        let Some(token) = self.peek().cloned() else { return Ok(None) };
        let value = match token {
            Token::Parameter => {
                self.advance();
                return self.parameter().map(Some);
            }
            Token::Text(text) => {
                self.advance();
                Value::S(text)
            }
            Token::Number(text) => {
                self.advance();
                Value::N(Number::parse(&text)?)
            }
            Token::Char('-' | '+') => {
                self.advance();
                let Some(Token::Number(text)) = self.peek().cloned() else { return Err(self.unexpected()) };
                self.advance();
                let number = Number::parse(&text)?;
                Value::N(if token == Token::Char('-') { number.negated() } else { number })
            }
            Token::Char('[') => Value::L(self.members(Token::Char('['), Token::Char(']'))?),
            Token::OpenSet => set(self.members(Token::OpenSet, Token::CloseSet)?)?,
            Token::Char('{') => Value::M(self.map()?),
            Token::Word(word) => {
                let value = match word.to_ascii_uppercase().as_str() {
                    "TRUE" => Value::Bool(true),
                    "FALSE" => Value::Bool(false),
                    "NULL" => Value::Null,
                    _ => return Ok(None),
                };
                self.advance();
                value
            }
            _ => return Ok(None),
        };
        Ok(Some(value))
    }

    fn member(&mut self) -> Result<Value, Error> {
        match self.literal()? {
            Some(value) => Ok(value),
            None => Err(self.unexpected()),
        }
    }

    fn members(&mut self, open: Token, close: Token) -> Result<Vec<Value>, Error> {
        self.expect(&open)?;
        self.deeper()?;
        let mut out = Vec::new();
        while !self.eat(&close) {
            if !out.is_empty() {
                self.expect(&Token::Char(','))?;
            }
            out.push(self.member()?);
        }
        self.shallower();
        Ok(out)
    }

    /// `{'name': value, …}`
    pub(super) fn map(&mut self) -> Result<Item, Error> {
        self.expect(&Token::Char('{'))?;
        self.deeper()?;
        let mut out = Item::new();
        while !self.eat(&Token::Char('}')) {
            if !out.is_empty() {
                self.expect(&Token::Char(','))?;
            }
            let name = match self.peek().cloned() {
                Some(Token::Text(name) | Token::Quoted(name) | Token::Word(name)) => name,
                _ => return Err(self.unexpected()),
            };
            self.advance();
            self.expect(&Token::Char(':'))?;
            let value = self.member()?;
            if out.insert(name, value).is_some() {
                return Err(malformed("Duplicate attribute name in a map"));
            }
        }
        self.shallower();
        Ok(out)
    }
}

/// A set of texts, numbers or bytes.
fn set(members: Vec<Value>) -> Result<Value, Error> {
    let invalid = |why: &str| Error::validation(format!("One or more parameter values were invalid: {why}"));
    let Some(kind) = members.first().map(Value::kind) else { return Err(invalid("An string set  may not be empty")) };
    if members.iter().any(|m| m.kind() != kind) {
        return Err(Error::validation("Set must contain elements of the same type"));
    }
    let duplicates = || invalid("Input collection contains duplicates");
    match kind {
        Kind::S => {
            let set: Vec<String> =
                members.into_iter().filter_map(|m| if let Value::S(s) = m { Some(s) } else { None }).collect();
            if has_duplicates(&set) { Err(duplicates()) } else { Ok(Value::Ss(set)) }
        }
        Kind::N => {
            let set: Vec<Number> =
                members.into_iter().filter_map(|m| if let Value::N(n) = m { Some(n) } else { None }).collect();
            if has_duplicates(&set) { Err(duplicates()) } else { Ok(Value::Ns(set)) }
        }
        Kind::B => {
            let set: Vec<Vec<u8>> =
                members.into_iter().filter_map(|m| if let Value::B(b) = m { Some(b) } else { None }).collect();
            if has_duplicates(&set) { Err(duplicates()) } else { Ok(Value::Bs(set)) }
        }
        other => Err(Error::validation(format!("Unsupported element type in a set: {}", other.name()))),
    }
}
