//! The parser of statements.

use super::lexer::{Token, malformed, tokens};
use super::{DeleteItem, Insert, Returning, Select, Statement, UpdateItem};
use crate::error::Error;
use crate::expr::ast::{Action, Compare, Expr, Path, Step, Update};
use crate::item::{Kind, Value};
use std::sync::Arc;

/// Most parentheses, calls and literals inside each other.
pub(super) const DEPTH_MAX: usize = 64;

/// Words that are no names unless quoted.
const KEYWORDS: [&str; 27] = [
    "SELECT",
    "FROM",
    "WHERE",
    "INSERT",
    "INTO",
    "VALUE",
    "VALUES",
    "UPDATE",
    "SET",
    "REMOVE",
    "DELETE",
    "RETURNING",
    "ORDER",
    "BY",
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "IS",
    "EXISTS",
    "GROUP",
    "HAVING",
    "LIMIT",
    "JOIN",
    "AS",
    "UNION",
];

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    parameters: std::vec::IntoIter<Value>,
    depth: usize,
}

impl Parser {
    pub(super) fn new(text: &str, parameters: Vec<Value>) -> Result<Parser, Error> {
        let tokens = tokens(text)?;
        let asked = tokens.iter().filter(|t| **t == Token::Parameter).count();
        let parser = Parser { tokens, at: 0, parameters: parameters.into_iter(), depth: 0 };
        // A statement that is none is told before its parameters are counted.
        if !["SELECT", "INSERT", "UPDATE", "DELETE", "EXISTS"].iter().any(|word| parser.peek_word(word)) {
            return Err(malformed("Expected data manipulation"));
        }
        if asked != parser.parameters.len() {
            return Err(Error::validation("Number of parameters in request and statement don't match."));
        }
        Ok(parser)
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn eat(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, token: &Token) -> Result<(), Error> {
        if self.eat(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn peek_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), Error> {
        if self.eat_word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The error at the current token.
    pub(super) fn unexpected(&self) -> Error {
        malformed(match self.peek() {
            None => "Unexpected end of statement",
            Some(Token::Word(word)) if is_keyword(word) => "Unexpected keyword",
            Some(_) => "Unexpected term",
        })
    }

    pub(super) fn deeper(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(malformed("Nesting is too deep"));
        }
        Ok(())
    }

    pub(super) fn shallower(&mut self) {
        self.depth -= 1;
    }

    pub(super) fn parameter(&mut self) -> Result<Value, Error> {
        self.parameters
            .next()
            .ok_or_else(|| Error::validation("Number of parameters in request and statement don't match."))
    }

    pub(super) fn whole(mut self) -> Result<Statement, Error> {
        let statement = self.statement()?;
        self.eat(&Token::Char(';'));
        match self.peek() {
            None => Ok(statement),
            Some(Token::Word(word)) if is_clause(word) => {
                Err(Error::validation(format!("Unsupported clause: {}", word.to_ascii_uppercase())))
            }
            Some(_) => Err(self.unexpected()),
        }
    }

    fn statement(&mut self) -> Result<Statement, Error> {
        if self.eat_word("SELECT") {
            return Ok(Statement::Select(self.select()?));
        }
        if self.eat_word("EXISTS") {
            self.expect(&Token::Char('('))?;
            self.expect_word("SELECT")?;
            let select = self.select()?;
            self.expect(&Token::Char(')'))?;
            return Ok(Statement::Exists(select));
        }
        if self.eat_word("INSERT") {
            return self.insert();
        }
        if self.eat_word("UPDATE") {
            return self.update();
        }
        self.expect_word("DELETE")?;
        self.expect_word("FROM")?;
        let (table, _) = self.target(false)?;
        let condition = self.condition_clause()?;
        let returning = self.returning()?;
        if returning.is_some_and(|r| r.modified || !r.old) {
            return Err(Error::validation("DELETE statement supports only RETURNING ALL OLD *"));
        }
        Ok(Statement::Delete(DeleteItem { table, condition, returning }))
    }

    fn select(&mut self) -> Result<Select, Error> {
        let columns = if self.eat(&Token::Char('*')) {
            None
        } else {
            let mut columns = vec![self.path()?];
            while self.eat(&Token::Char(',')) {
                columns.push(self.path()?);
            }
            Some(columns)
        };
        self.expect_word("FROM")?;
        let (table, index) = self.target(true)?;
        let condition = self.condition_clause()?;
        let mut order = Vec::new();
        if self.eat_word("ORDER") {
            self.expect_word("BY")?;
            loop {
                let name = self.name()?;
                let down = self.eat_word("DESC");
                if !down {
                    self.eat_word("ASC");
                }
                order.push((name, down));
                if !self.eat(&Token::Char(',')) {
                    break;
                }
            }
        }
        Ok(Select { table, index, columns, condition, order })
    }

    /// A table, and the index of it where one may follow.
    fn target(&mut self, indexed: bool) -> Result<(String, Option<String>), Error> {
        let table = self.name()?;
        let index = if indexed && self.eat(&Token::Char('.')) { Some(self.name()?) } else { None };
        Ok((table, index))
    }

    fn insert(&mut self) -> Result<Statement, Error> {
        self.expect_word("INTO")?;
        let (table, _) = self.target(false)?;
        self.expect_word("VALUE")?;
        let item = match self.literal()? {
            Some(Value::M(item)) => item,
            Some(_) => return Err(Error::validation("The value of an INSERT statement must be a tuple")),
            None => return Err(self.unexpected()),
        };
        if self.peek_word("RETURNING") {
            return Err(Error::validation("Unsupported clause: RETURNING"));
        }
        Ok(Statement::Insert(Insert { table, item }))
    }

    fn update(&mut self) -> Result<Statement, Error> {
        let (table, _) = self.target(false)?;
        let mut actions: Vec<Action> = Vec::new();
        loop {
            if self.eat_word("SET") {
                actions.push(self.assignment()?);
                while self.eat(&Token::Char(',')) {
                    actions.push(self.assignment()?);
                }
            } else if self.eat_word("REMOVE") {
                actions.push(Action::Remove(self.path()?));
                while self.eat(&Token::Char(',')) {
                    actions.push(Action::Remove(self.path()?));
                }
            } else {
                break;
            }
        }
        if actions.is_empty() {
            return Err(self.unexpected());
        }
        check_overlaps(&actions)?;
        let condition = self.condition_clause()?;
        let returning = self.returning()?;
        Ok(Statement::Update(UpdateItem { table, update: Update { actions, is_legacy: false }, condition, returning }))
    }

    /// `path = value`, or a change of a set.
    fn assignment(&mut self) -> Result<Action, Error> {
        let path = self.path()?;
        self.expect(&Token::Compare(Compare::Eq))?;
        for (function, adds) in [("set_add", true), ("set_delete", false)] {
            if self.peek_call(function) {
                self.at += 2;
                let of = self.path()?;
                self.expect(&Token::Char(','))?;
                let Some(value) = self.literal()? else { return Err(self.unexpected()) };
                self.expect(&Token::Char(')'))?;
                if of != path {
                    return Err(Error::validation(format!("{function} must be assigned to the attribute it changes")));
                }
                if !matches!(value.kind(), Kind::Ss | Kind::Ns | Kind::Bs) {
                    return Err(Error::validation(format!(
                        "Incorrect operand type for operator or function; operator or function: {function}, operand type: {}",
                        value.kind().name()
                    )));
                }
                let value = Arc::new(value);
                return Ok(if adds { Action::Add(path, value) } else { Action::Delete(path, value) });
            }
        }
        Ok(Action::Set(path, self.sum()?))
    }

    pub(super) fn peek_call(&self, function: &str) -> bool {
        self.peek_word(function) && self.tokens.get(self.at + 1) == Some(&Token::Char('('))
    }

    fn sum(&mut self) -> Result<Expr, Error> {
        let mut left = self.term()?;
        loop {
            let plus = self.peek() == Some(&Token::Char('+'));
            if !plus && self.peek() != Some(&Token::Char('-')) {
                return Ok(left);
            }
            self.advance();
            // Never given back: a row of signs makes a tree as deep as it is long.
            self.deeper()?;
            let right = Box::new(self.term()?);
            left = if plus { Expr::Plus(Box::new(left), right) } else { Expr::Minus(Box::new(left), right) };
        }
    }

    fn term(&mut self) -> Result<Expr, Error> {
        if self.eat(&Token::Char('(')) {
            self.deeper()?;
            let inner = self.sum()?;
            self.expect(&Token::Char(')'))?;
            self.shallower();
            return Ok(inner);
        }
        if self.peek_call("list_append") || self.peek_call("if_not_exists") {
            let appends = self.peek_word("list_append");
            self.at += 2;
            self.deeper()?;
            let first = self.sum()?;
            self.expect(&Token::Char(','))?;
            let second = Box::new(self.sum()?);
            self.expect(&Token::Char(')'))?;
            self.shallower();
            return match first {
                first if appends => Ok(Expr::ListAppend(Box::new(first), second)),
                Expr::Path(path) => Ok(Expr::IfNotExists(path, second)),
                _ => Err(Error::validation(
                    "Operator or function requires a document path; operator or function: if_not_exists",
                )),
            };
        }
        match self.literal()? {
            Some(value) => Ok(Expr::Value(Arc::new(value))),
            None => Ok(Expr::Path(self.path()?)),
        }
    }

    fn returning(&mut self) -> Result<Option<Returning>, Error> {
        if !self.eat_word("RETURNING") {
            return Ok(None);
        }
        let modified = self.eat_word("MODIFIED");
        if !modified {
            self.expect_word("ALL")?;
        }
        let old = self.eat_word("OLD");
        if !old {
            self.expect_word("NEW")?;
        }
        self.expect(&Token::Char('*'))?;
        Ok(Some(Returning { modified, old }))
    }

    /// A name: quoted, or a word that is no keyword.
    fn name(&mut self) -> Result<String, Error> {
        match self.peek().cloned() {
            Some(Token::Quoted(name)) => {
                self.advance();
                Ok(name)
            }
            Some(Token::Word(name)) if !is_keyword(&name) => {
                self.advance();
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `name.name[0]…`
    pub(super) fn path(&mut self) -> Result<Path, Error> {
        let root = self.name()?;
        let mut steps = Vec::new();
        loop {
            if self.eat(&Token::Char('.')) {
                steps.push(Step::Attribute(self.name()?));
            } else if self.eat(&Token::Char('[')) {
                steps.push(match self.peek().cloned() {
                    Some(Token::Number(text)) => Step::Index(text.parse().map_err(|_| self.unexpected())?),
                    Some(Token::Text(name)) => Step::Attribute(name),
                    _ => return Err(self.unexpected()),
                });
                self.advance();
                self.expect(&Token::Char(']'))?;
            } else {
                break;
            }
        }
        if steps.len() >= crate::item::NESTING_MAX {
            return Err(Error::validation("The document path has too many nesting elements"));
        }
        if self.peek() == Some(&Token::Char('(')) {
            return Err(Error::validation(format!("Unsupported function: {root}")));
        }
        Ok(Path { root, steps })
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(word))
}

fn is_clause(word: &str) -> bool {
    ["GROUP", "HAVING", "LIMIT", "JOIN", "UNION", "OFFSET"].iter().any(|k| k.eq_ignore_ascii_case(word))
}

/// Two changes may not touch one place.
fn check_overlaps(actions: &[Action]) -> Result<(), Error> {
    for (at, action) in actions.iter().enumerate() {
        if let Some(other) = actions[..at].iter().find(|other| other.path().overlaps(action.path())) {
            return Err(Error::validation(format!(
                "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: {}, path \
                 two: {}",
                other.path(),
                action.path()
            )));
        }
    }
    Ok(())
}
