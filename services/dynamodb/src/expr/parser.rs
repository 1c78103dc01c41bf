//! The parser of conditions and paths, and what the update parser shares with it.
//!
//! A syntax error ends parsing at once. Everything else (reserved words, undefined placeholders, wrong operands) is
//! noted with a [`Rank`] and told only when the whole text has been read, lowest rank first.

use super::ExprKind;
use super::ast::{Compare, Condition, Operand, Path, Step};
use super::lexer::{Tok, Token, tokens};
use super::placeholders::Placeholders;
use super::reserved::is_reserved;
use crate::error::Error;
use crate::item::{Kind, Value};
use std::sync::Arc;

/// Most bytes of an expression.
const TEXT_BYTES_MAX: usize = 4096;
/// Most operators and functions in an expression.
const OPERATORS_MAX: usize = 300;
/// Most parentheses and calls inside each other. Every level with a meaning needs two operators (a comparator and a word
/// that joins it), so 300 operators need no more than this; deeper nesting is redundant.
const DEPTH_MAX: usize = OPERATORS_MAX / 2;
/// Most operands of IN.
const IN_OPERANDS_MAX: usize = 100;
/// Most steps of a path.
const PATH_STEPS_MAX: usize = 32;

/// Faults other than of syntax, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Redundant parentheses, a section given twice.
    Form,
    /// A function that does not exist or not here.
    Function,
    /// A reserved word.
    Reserved,
    /// An undefined `#name`.
    Name,
    /// An undefined `:value`.
    Value,
    /// Wrong operands.
    Operand,
    /// Overlapping or conflicting paths.
    Paths,
}

/// An operand before it is known where it stands.
pub(super) enum Raw {
    Path(Path),
    Value(Arc<Value>),
    Call(String, Vec<Raw>),
}

pub(super) struct Parser<'a> {
    pub kind: ExprKind,
    text: &'a str,
    tokens: Vec<Token>,
    pub(super) at: usize,
    pub scope: &'a mut Placeholders,
    issues: Vec<(Rank, String)>,
    operators: usize,
    depth: usize,
    /// Where the latest group of parentheses opens and closes, by tokens.
    pub(super) last_group: (usize, usize),
}

/// Reads a condition, filter or key condition.
///
/// # Errors
/// `ValidationException` with the service's text, such as `Invalid FilterExpression: Syntax error; …`.
pub fn condition(kind: ExprKind, text: &str, scope: &mut Placeholders) -> Result<Condition, Error> {
    let mut parser = Parser::new(kind, text, scope)?;
    let condition = parser.any_of()?;
    parser.finish()?;
    Ok(condition)
}

/// Reads a projection: paths separated by commas, none overlapping another.
///
/// # Errors
/// As [`condition`].
pub fn projection(text: &str, scope: &mut Placeholders) -> Result<Vec<Path>, Error> {
    let mut parser = Parser::new(ExprKind::Projection, text, scope)?;
    let mut paths = vec![parser.path()?];
    while parser.eat(b',') {
        paths.push(parser.path()?);
    }
    parser.check_paths(&paths.iter().collect::<Vec<_>>());
    parser.finish()?;
    Ok(paths)
}

impl<'a> Parser<'a> {
    pub(super) fn new(kind: ExprKind, text: &'a str, scope: &'a mut Placeholders) -> Result<Parser<'a>, Error> {
        let invalid = |why: String| Err(Error::validation(format!("Invalid {}: {why}", kind.name())));
        if text.len() > TEXT_BYTES_MAX {
            return invalid(format!(
                "Expression size has exceeded the maximum allowed size; expression size: {}",
                text.len()
            ));
        }
        let tokens = tokens(text);
        if tokens.len() == 1 {
            return invalid("The expression can not be empty;".into());
        }
        Ok(Parser { kind, text, tokens, at: 0, scope, issues: Vec::new(), operators: 0, depth: 0, last_group: (0, 0) })
    }

    pub(super) fn error(&self, why: impl std::fmt::Display) -> Error {
        Error::validation(format!("Invalid {}: {why}", self.kind.name()))
    }

    pub(super) fn note(&mut self, rank: Rank, why: String) {
        self.issues.push((rank, why));
    }

    /// Expects the end and tells the first of the noted faults.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        if self.peek().tok != Tok::End {
            return Err(self.syntax_error());
        }
        match self.issues.iter().min_by_key(|(rank, _)| *rank) {
            Some((_, why)) => Err(self.error(why)),
            None => Ok(()),
        }
    }

    pub(super) fn peek(&self) -> Token {
        // The last token is `End` and is never passed.
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn token_text(&self, token: Token) -> &'a str {
        &self.text[token.start..token.end]
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn eat(&mut self, char: u8) -> bool {
        let found = self.peek().tok == Tok::Char(char);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, char: u8) -> Result<(), Error> {
        if self.eat(char) { Ok(()) } else { Err(self.syntax_error()) }
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn peek_word(&self, word: &str) -> bool {
        let token = self.peek();
        token.tok == Tok::Ident && self.token_text(token).eq_ignore_ascii_case(word)
    }

    /// The error at the current token; `near` runs from the token before to the token after it.
    pub(super) fn syntax_error(&self) -> Error {
        let token = self.peek();
        let last = self.tokens.len() - 1;
        let from = self.tokens[self.at.min(last).saturating_sub(1)].start;
        let to = self.tokens[(self.at + 1).min(last)].end;
        let near = self.text[from..to.max(token.end)].trim_end();
        let token = if token.tok == Tok::End { "<EOF>" } else { self.token_text(token) };
        self.error(format!("Syntax error; token: \"{token}\", near: \"{near}\""))
    }

    /// Counts an operator or function.
    pub(super) fn operator(&mut self) -> Result<(), Error> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            return Err(
                self.error(format!("The expression contains too many operators; operator count: {}", self.operators))
            );
        }
        Ok(())
    }

    pub(super) fn deeper(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error("The expression has redundant parentheses;"));
        }
        Ok(())
    }

    pub(super) fn shallower(&mut self) {
        self.depth -= 1;
    }

    fn any_of(&mut self) -> Result<Condition, Error> {
        let first = self.all_of()?;
        if !self.peek_word("OR") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.eat_word("OR") {
            self.operator()?;
            all.push(self.all_of()?);
        }
        Ok(Condition::Or(all))
    }

    fn all_of(&mut self) -> Result<Condition, Error> {
        let first = self.one()?;
        if !self.peek_word("AND") {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.eat_word("AND") {
            self.operator()?;
            all.push(self.one()?);
        }
        Ok(Condition::And(all))
    }

    fn one(&mut self) -> Result<Condition, Error> {
        // A loop, so that a row of NOTs costs no depth.
        let mut negated = false;
        while self.eat_word("NOT") {
            self.operator()?;
            negated = !negated;
        }
        let condition = self.positive()?;
        Ok(if negated { Condition::Not(Box::new(condition)) } else { condition })
    }

    fn positive(&mut self) -> Result<Condition, Error> {
        if self.peek().tok == Tok::Char(b'(') {
            return self.group();
        }
        let first = self.raw()?;
        let token = self.peek();
        if let Tok::Compare(compare) = token.tok {
            self.advance();
            self.operator()?;
            let second = self.raw()?;
            return Ok(self.comparison(first, compare, second));
        }
        if self.eat_word("BETWEEN") {
            return self.between(first);
        }
        if self.eat_word("IN") {
            return self.member_of(first);
        }
        match first {
            Raw::Call(name, arguments) => Ok(self.predicate(&name, arguments)),
            _ => Err(self.syntax_error()),
        }
    }

    fn group(&mut self) -> Result<Condition, Error> {
        let open = self.at;
        self.expect(b'(')?;
        self.deeper()?;
        let inner = self.any_of()?;
        if self.last_group == (open + 1, self.at.saturating_sub(1)) {
            self.note(Rank::Form, "The expression has redundant parentheses;".into());
        }
        self.last_group = (open, self.at);
        self.expect(b')')?;
        self.shallower();
        Ok(inner)
    }

    fn between(&mut self, first: Raw) -> Result<Condition, Error> {
        self.operator()?;
        let low = self.raw()?;
        if !self.eat_word("AND") {
            return Err(self.syntax_error());
        }
        let high = self.raw()?;
        let [first, low, high] = [first, low, high].map(|raw| self.operand(raw));
        for operand in [&first, &low, &high] {
            self.check_ordered("BETWEEN", operand);
        }
        [&low, &high].into_iter().for_each(|bound| self.check_distinct("BETWEEN", &first, bound));
        if let (Operand::Value(l), Operand::Value(h)) = (&low, &high) {
            let complaint = if l.kind() != h.kind() {
                Some("same data type for lower and upper bounds")
            } else if l.order(h).is_some_and(std::cmp::Ordering::is_gt) {
                Some("upper bound to be greater than or equal to lower bound")
            } else {
                None
            };
            if let Some(what) = complaint {
                let why = format!(
                    "The BETWEEN operator requires {what}; lower bound operand: {}, upper bound operand: {}",
                    describe(l),
                    describe(h)
                );
                self.note(Rank::Operand, why);
            }
        }
        Ok(Condition::Between(first, low, high))
    }

    fn member_of(&mut self, first: Raw) -> Result<Condition, Error> {
        self.operator()?;
        self.expect(b'(')?;
        let mut members = vec![self.raw()?];
        while self.eat(b',') {
            members.push(self.raw()?);
        }
        self.expect(b')')?;
        if members.len() > IN_OPERANDS_MAX {
            let count = members.len();
            self.note(
                Rank::Operand,
                format!("The IN operator is provided with too many operands; number of operands: {count}"),
            );
        }
        let first = self.operand(first);
        let members: Vec<Operand> = members.into_iter().map(|raw| self.operand(raw)).collect();
        members.iter().for_each(|member| self.check_distinct("IN", &first, member));
        Ok(Condition::In(first, members))
    }

    fn comparison(&mut self, first: Raw, compare: Compare, second: Raw) -> Condition {
        let [first, second] = [first, second].map(|raw| self.operand(raw));
        if !matches!(compare, Compare::Eq | Compare::Ne) {
            self.check_ordered(compare.text(), &first);
            self.check_ordered(compare.text(), &second);
        }
        self.check_distinct(compare.text(), &first, &second);
        Condition::Compare(first, compare, second)
    }

    fn check_ordered(&mut self, operator: &str, operand: &Operand) {
        if let Some(kind) = operand.kind().filter(|k| !k.is_ordered()) {
            self.wrong_type(operator, kind);
        }
    }

    pub(super) fn wrong_type(&mut self, operator: &str, kind: Kind) {
        self.note(
            Rank::Operand,
            format!(
                "Incorrect operand type for operator or function; operator or function: {operator}, operand type: {}",
                kind.name()
            ),
        );
    }

    pub(super) fn check_distinct(&mut self, operator: &str, first: &Operand, second: &Operand) {
        if let (Operand::Path(a), Operand::Path(b)) = (first, second)
            && a == b
        {
            self.note(
                Rank::Operand,
                format!(
                    "The first operand must be distinct from the remaining operands for this operator or function; \
                     operator: {operator}, first operand: {a}"
                ),
            );
        }
    }

    /// A path, a value or a call, wherever an operand may stand.
    pub(super) fn raw(&mut self) -> Result<Raw, Error> {
        let token = self.peek();
        match token.tok {
            Tok::Value => {
                self.advance();
                Ok(Raw::Value(self.value(token)))
            }
            Tok::Ident if self.tokens.get(self.at + 1).is_some_and(|t| t.tok == Tok::Char(b'(')) => self.call(),
            Tok::Ident | Tok::Name => Ok(Raw::Path(self.path()?)),
            _ => Err(self.syntax_error()),
        }
    }

    fn call(&mut self) -> Result<Raw, Error> {
        let name = self.token_text(self.peek()).to_owned();
        self.advance();
        self.operator()?;
        self.deeper()?;
        self.expect(b'(')?;
        let mut arguments = vec![self.raw()?];
        while self.eat(b',') {
            arguments.push(self.raw()?);
        }
        self.expect(b')')?;
        self.shallower();
        Ok(Raw::Call(name, arguments))
    }

    /// The value of a `:value` token.
    pub(super) fn value(&mut self, token: Token) -> Arc<Value> {
        let key = self.token_text(token);
        self.scope.value(key).unwrap_or_else(|| {
            self.note(
                Rank::Value,
                format!("An expression attribute value used in expression is not defined; attribute value: {key}"),
            );
            Arc::new(Value::Null)
        })
    }

    pub(super) fn path(&mut self) -> Result<Path, Error> {
        let root = self.path_name()?;
        let mut steps = Vec::new();
        loop {
            if self.eat(b'.') {
                steps.push(Step::Attribute(self.path_name()?));
            } else if self.eat(b'[') {
                steps.push(Step::Index(self.path_index()?));
                self.expect(b']')?;
            } else {
                break;
            }
        }
        if steps.len() >= PATH_STEPS_MAX {
            let levels = steps.len() + 1;
            self.note(
                Rank::Paths,
                format!("The document path has too many nesting elements; nesting levels: {levels}"),
            );
        }
        Ok(Path { root, steps })
    }

    fn path_name(&mut self) -> Result<String, Error> {
        let token = self.peek();
        let text = self.token_text(token);
        match token.tok {
            Tok::Ident => {
                self.check_word(text)?;
                self.advance();
                Ok(text.to_owned())
            }
            Tok::Name => {
                self.advance();
                Ok(self.scope.name(text).unwrap_or_else(|| {
                    self.note(
                        Rank::Name,
                        format!(
                            "An expression attribute name used in the document path is not defined; attribute name: \
                             {text}"
                        ),
                    );
                    String::new()
                }))
            }
            _ => Err(self.syntax_error()),
        }
    }

    /// Words that the grammar itself uses are syntax errors as names; reserved words are told later.
    fn check_word(&mut self, word: &str) -> Result<(), Error> {
        let is_any = |words: &[&str]| words.iter().any(|w| word.eq_ignore_ascii_case(w));
        let grammar: &[&str] = match self.kind {
            ExprKind::Update => &["SET", "REMOVE", "ADD", "DELETE"],
            ExprKind::Projection => &[],
            _ => &["AND", "OR", "NOT", "BETWEEN", "IN"],
        };
        if is_any(grammar) {
            return Err(self.syntax_error());
        }
        if is_reserved(word) {
            self.note(Rank::Reserved, format!("Attribute name is a reserved keyword; reserved keyword: {word}"));
        }
        Ok(())
    }

    fn path_index(&mut self) -> Result<usize, Error> {
        let token = self.peek();
        if token.tok != Tok::Number {
            return Err(self.syntax_error());
        }
        let text = self.token_text(token);
        self.advance();
        Ok(text.parse::<u32>().map(|i| i as usize).unwrap_or_else(|_| {
            self.note(Rank::Paths, format!("List index is not within the allowable range; index: [{text}]"));
            0
        }))
    }

    /// Notes the first two paths that overlap or conflict.
    pub(super) fn check_paths(&mut self, paths: &[&Path]) {
        let pairs = || paths.iter().enumerate().flat_map(|(i, a)| paths[i + 1..].iter().map(move |b| (*a, *b)));
        let found = pairs().find(|(a, b)| a.overlaps(b)).map(|pair| ("overlap", pair));
        let found = found.or_else(|| pairs().find(|(a, b)| a.conflicts(b)).map(|pair| ("conflict", pair)));
        if let Some((how, (one, two))) = found {
            let why = format!(
                "Two document paths {how} with each other; must remove or rewrite one of these paths; path one: {one}, \
                 path two: {two}"
            );
            self.note(Rank::Paths, why);
        }
    }
}

/// `AttributeValue: {S:text}`, as messages print values.
pub(super) fn describe(value: &Value) -> String {
    let inner = match value {
        Value::S(s) => s.clone(),
        Value::N(n) => n.to_string(),
        // As Java prints a buffer.
        Value::B(b) => format!("java.nio.HeapByteBuffer[pos=0 lim={0} cap={0}]", b.len()),
        other => format!("{other:?}"),
    };
    format!("AttributeValue: {{{}:{inner}}}", value.kind().name())
}
