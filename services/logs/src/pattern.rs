//! Filter patterns: which lines `FilterLogEvents` wants.
//!
//! Served: terms (all must be there), `?term` (one of them must be), `-term` (must not be), quoted phrases, and JSON patterns
//! `{ $.a.b = "x" && ($.n > 3 || $.c EXISTS) }`. Space-delimited `[a, b]` and regular expressions are refused.

use crate::error::Error;
use serde_json::Value;

/// Longest pattern.
const BYTES_MAX: usize = 1024;
/// Deepest nesting of parentheses.
const DEPTH_MAX: usize = 20;

/// A pattern.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// Everything.
    All,
    /// Terms.
    Terms {
        /// All of these.
        all: Vec<String>,
        /// One of these, if there are any.
        any: Vec<String>,
        /// None of these.
        none: Vec<String>,
    },
    /// A condition on a JSON object.
    Json(Condition),
}

/// A condition on a JSON object.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Both.
    And(Box<Condition>, Box<Condition>),
    /// One or both.
    Or(Box<Condition>, Box<Condition>),
    /// A comparison of the value at a path.
    Compare(Vec<Step>, Operator),
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Member.
    Name(String),
    /// Element.
    Index(usize),
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Operator {
    /// Text equality; `*` stands for anything.
    Text(String, bool),
    /// Number comparison: operator and number.
    Number(&'static str, f64),
    /// `IS NULL`, `IS TRUE`, `IS FALSE`.
    Is(Value),
    /// `EXISTS` or `NOT EXISTS`.
    Exists(bool),
}

fn bad() -> Error {
    Error::invalid("Invalid filter pattern")
}

impl Pattern {
    /// Reads a pattern; an empty one matches everything.
    ///
    /// # Errors
    /// `InvalidParameterException`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() > BYTES_MAX {
            return Err(bad());
        }
        match text.chars().next() {
            None => Ok(Self::All),
            Some('{') => {
                let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(bad)?;
                let mut parser = Parser { rest: inner };
                let condition = parser.or(0)?;
                if !parser.rest.trim().is_empty() {
                    return Err(bad());
                }
                Ok(Self::Json(condition))
            }
            Some('[' | '%') => {
                Err(Error::invalid("Filter patterns with [fields] or %regular expressions% are not supported"))
            }
            Some(_) => Self::terms(text),
        }
    }

    fn terms(text: &str) -> Result<Self, Error> {
        let (mut all, mut any, mut none) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = text;
        while !rest.is_empty() {
            let (list, after) = match rest.chars().next() {
                Some('?') => (&mut any, &rest[1..]),
                Some('-') => (&mut none, &rest[1..]),
                _ => (&mut all, rest),
            };
            let (term, left) = match after.strip_prefix('"') {
                Some(quoted) => {
                    let (term, used) = quoted_text(quoted).ok_or_else(bad)?;
                    (term, &quoted[used..])
                }
                None => {
                    let end = after.find(char::is_whitespace).unwrap_or(after.len());
                    (after[..end].to_owned(), &after[end..])
                }
            };
            if term.is_empty() {
                return Err(bad());
            }
            list.push(term);
            rest = left.trim_start();
        }
        Ok(Self::Terms { all, any, none })
    }

    /// Whether a line matches.
    #[must_use]
    pub fn matches(&self, line: &str) -> bool {
        match self {
            Self::All => true,
            Self::Terms { all, any, none } => {
                all.iter().all(|t| line.contains(t.as_str()))
                    && (any.is_empty() || any.iter().any(|t| line.contains(t.as_str())))
                    && !none.iter().any(|t| line.contains(t.as_str()))
            }
            Self::Json(condition) => {
                line.trim_start().starts_with('{')
                    && serde_json::from_str::<Value>(line).is_ok_and(|v| condition.matches(&v))
            }
        }
    }
}

/// The text up to the closing quote and how many bytes it and the quote take.
fn quoted_text(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, at + 1)),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

impl Condition {
    fn matches(&self, v: &Value) -> bool {
        match self {
            Self::And(a, b) => a.matches(v) && b.matches(v),
            Self::Or(a, b) => a.matches(v) || b.matches(v),
            Self::Compare(path, op) => op.matches(at(v, path)),
        }
    }
}

fn at<'a>(v: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(v, |v, step| match step {
        Step::Name(n) => v.get(n),
        Step::Index(i) => v.get(i),
    })
}

impl Operator {
    fn matches(&self, v: Option<&Value>) -> bool {
        match (self, v) {
            (Self::Exists(wanted), v) => v.is_some() == *wanted,
            (_, None) => false,
            (Self::Is(wanted), Some(v)) => v == wanted,
            (Self::Text(pattern, equal), Some(v)) => {
                let text = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
                glob(pattern, &text) == *equal
            }
            (Self::Number(op, n), Some(v)) => v.as_f64().is_some_and(|x| match *op {
                "=" => x == *n,
                "!=" => x != *n,
                "<" => x < *n,
                ">" => x > *n,
                "<=" => x <= *n,
                _ => x >= *n,
            }),
        }
    }
}

/// `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut tail: Vec<&str> = parts.collect();
    let Some(last) = tail.pop() else { return rest.is_empty() };
    for part in tail {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn or(&mut self, depth: usize) -> Result<Condition, Error> {
        let mut left = self.and(depth)?;
        while self.eat("||") {
            left = Condition::Or(Box::new(left), Box::new(self.and(depth)?));
        }
        Ok(left)
    }

    fn and(&mut self, depth: usize) -> Result<Condition, Error> {
        let mut left = self.one(depth)?;
        while self.eat("&&") {
            left = Condition::And(Box::new(left), Box::new(self.one(depth)?));
        }
        Ok(left)
    }

    fn one(&mut self, depth: usize) -> Result<Condition, Error> {
        if depth > DEPTH_MAX {
            return Err(bad());
        }
        if self.eat("(") {
            let inner = self.or(depth + 1)?;
            return if self.eat(")") { Ok(inner) } else { Err(bad()) };
        }
        let path = self.path()?;
        Ok(Condition::Compare(path, self.operator()?))
    }

    fn path(&mut self) -> Result<Vec<Step>, Error> {
        if !self.eat("$") {
            return Err(bad());
        }
        let mut path = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix('.') {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'))).unwrap_or(rest.len());
                if end == 0 {
                    return Err(bad());
                }
                path.push(Step::Name(rest[..end].to_owned()));
                self.rest = &rest[end..];
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                let end = rest.find(']').ok_or_else(bad)?;
                path.push(Step::Index(rest[..end].parse().map_err(|_| bad())?));
                self.rest = &rest[end + 1..];
            } else {
                return if path.is_empty() { Err(bad()) } else { Ok(path) };
            }
        }
    }

    fn operator(&mut self) -> Result<Operator, Error> {
        let words = [
            ("IS NULL", Operator::Is(Value::Null)),
            ("IS TRUE", Operator::Is(Value::Bool(true))),
            ("IS FALSE", Operator::Is(Value::Bool(false))),
            ("NOT EXISTS", Operator::Exists(false)),
            ("EXISTS", Operator::Exists(true)),
        ];
        for (word, op) in words {
            if self.eat(word) {
                return Ok(op);
            }
        }
        let op = ["!=", "<=", ">=", "=", "<", ">"].into_iter().find(|o| self.eat(o)).ok_or_else(bad)?;
        self.rest = self.rest.trim_start();
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let (text, used) = quoted_text(quoted).ok_or_else(bad)?;
            self.rest = &quoted[used..];
            return text_operator(op, text);
        }
        let end =
            self.rest.find(|c: char| c.is_whitespace() || matches!(c, ')' | '&' | '|')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word.parse() {
            Ok(n) => Ok(Operator::Number(op, n)),
            Err(_) if word.is_empty() => Err(bad()),
            Err(_) => text_operator(op, word.to_owned()),
        }
    }
}

fn text_operator(op: &str, text: String) -> Result<Operator, Error> {
    match op {
        "=" => Ok(Operator::Text(text, true)),
        "!=" => Ok(Operator::Text(text, false)),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_lines() {
        let cases = [
            ("", "anything", true),
            ("ERROR", "an ERROR here", true),
            ("ERROR", "an error here", false),
            ("ERROR memory", "memory ERROR", true),
            ("ERROR memory", "ERROR", false),
            ("?ERROR ?WARN", "WARN", true),
            ("?ERROR ?WARN", "INFO", false),
            ("ERROR -timeout", "ERROR timeout", false),
            ("\"two words\"", "has two words", true),
            ("\"two words\"", "two  words", false),
            ("{ $.level = \"ERROR\" }", r#"{"level":"ERROR"}"#, true),
            ("{ $.level = ERR* }", r#"{"level":"ERROR"}"#, true),
            ("{ $.level != \"ERROR\" }", r#"{"level":"INFO"}"#, true),
            ("{ $.n > 3 && $.n < 5 }", r#"{"n":4}"#, true),
            ("{ ($.n = 1 || $.a.b[1] = \"y\") && $.c IS NULL }", r#"{"a":{"b":["x","y"]},"c":null}"#, true),
            ("{ $.x EXISTS }", r#"{"y":1}"#, false),
            ("{ $.x NOT EXISTS }", r#"{"y":1}"#, true),
            ("{ $.x = 1 }", "x = 1", false),
        ];
        for (pattern, line, expected) in cases {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(line), expected, "{pattern} on {line}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for pattern in
            ["{ $.a = }", "{ $.a", "\"open", "[a, b]", "%re%", "{ a = 1 }", "{ $.a < \"x\" }", "{ $.a = 1 } x", "-"]
        {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::parse(&format!("{{ {}$.a = 1{} }}", "(".repeat(100), ")".repeat(100))).is_err());
    }
}
