//! From the text of a statement to tokens.

use crate::error::Error;
use crate::expr::ast::Compare;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A bare word: keyword, function, attribute or table.
    Word(String),
    /// `"…"`, a name.
    Quoted(String),
    /// `'…'`, a text.
    Text(String),
    /// Digits with point and exponent.
    Number(String),
    /// `?`
    Parameter,
    /// A comparator.
    Compare(Compare),
    /// `<<`
    OpenSet,
    /// `>>`
    CloseSet,
    /// One of `( ) [ ] { } , . : + - * ;`
    Char(char),
}

/// The error for a statement that cannot be read.
pub(super) fn malformed(why: &str) -> Error {
    Error::validation(format!("Statement wasn't well formed, can't be processed: {why}"))
}

/// All tokens of the text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut out = Vec::with_capacity(text.len() / 4 + 4);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c.is_whitespace() {
            rest = &rest[c.len_utf8()..];
        } else if rest.starts_with("--") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else {
            let (token, length) = next(rest, c)?;
            out.push(token);
            rest = &rest[length..];
        }
    }
    Ok(out)
}

fn next(rest: &str, c: char) -> Result<(Token, usize), Error> {
    let pair = |text: &str| rest.starts_with(text);
    Ok(match c {
        '\'' => {
            let (text, length) = quoted(rest, '\'')?;
            (Token::Text(text), length)
        }
        '"' => {
            let (name, length) = quoted(rest, '"')?;
            (Token::Quoted(name), length)
        }
        '0'..='9' => number(rest),
        '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest),
        c if c.is_alphabetic() || c == '_' || c == '$' => {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            (Token::Word(rest[..end].to_owned()), end)
        }
        '?' => (Token::Parameter, 1),
        '=' => (Token::Compare(Compare::Eq), 1),
        _ if pair("<<") => (Token::OpenSet, 2),
        _ if pair(">>") => (Token::CloseSet, 2),
        _ if pair("<>") || pair("!=") => (Token::Compare(Compare::Ne), 2),
        _ if pair("<=") => (Token::Compare(Compare::Le), 2),
        _ if pair(">=") => (Token::Compare(Compare::Ge), 2),
        '<' => (Token::Compare(Compare::Lt), 1),
        '>' => (Token::Compare(Compare::Gt), 1),
        '(' | ')' | '[' | ']' | '{' | '}' | ',' | '.' | ':' | '+' | '-' | '*' | ';' => (Token::Char(c), 1),
        _ => return Err(malformed("Invalid character")),
    })
}

/// What stands between quotes, where two of them are one; and the bytes with the quotes.
fn quoted(rest: &str, quote: char) -> Result<(String, usize), Error> {
    let mut out = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            out.push(c);
        } else if chars.peek().is_some_and(|(_, c)| *c == quote) {
            chars.next();
            out.push(quote);
        } else {
            return Ok((out, at + 1));
        }
    }
    Err(malformed("Unexpected end of statement"))
}

fn number(rest: &str) -> (Token, usize) {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    (Token::Number(rest[..end].to_owned()), end)
}
