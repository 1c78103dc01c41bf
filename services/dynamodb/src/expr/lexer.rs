//! From the text of an expression to tokens.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tok {
    /// A name, keyword or function.
    Ident,
    /// `#name`.
    Name,
    /// `:value`.
    Value,
    /// Digits.
    Number,
    /// `(`, `)`, `[`, `]`, `,`, `.`, `+`, `-`.
    Char(u8),
    /// A comparator.
    Compare(super::ast::Compare),
    /// A character that no expression has.
    Unknown,
    /// The end.
    End,
}

/// A token and where it is in the text.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// What it is.
    pub tok: Tok,
    /// First byte.
    pub start: usize,
    /// First byte after it.
    pub end: usize,
}

/// All tokens of the text, `End` last.
pub fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() / 3 + 2);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
            continue;
        }
        let (tok, length) = next(text, at, byte);
        out.push(Token { tok, start: at, end: at + length });
        at += length;
    }
    out.push(Token { tok: Tok::End, start: text.len(), end: text.len() });
    out
}

fn next(text: &str, at: usize, byte: u8) -> (Tok, usize) {
    use super::ast::Compare;
    let bytes = text.as_bytes();
    let word = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    let follows = |b: u8| bytes.get(at + 1) == Some(&b);
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => (Tok::Ident, word(at)),
        b'#' if word(at + 1) > 0 => (Tok::Name, 1 + word(at + 1)),
        b':' if word(at + 1) > 0 => (Tok::Value, 1 + word(at + 1)),
        b'0'..=b'9' => (Tok::Number, bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count()),
        b'(' | b')' | b'[' | b']' | b',' | b'.' | b'+' | b'-' => (Tok::Char(byte), 1),
        b'=' => (Tok::Compare(Compare::Eq), 1),
        b'<' if follows(b'>') => (Tok::Compare(Compare::Ne), 2),
        b'<' if follows(b'=') => (Tok::Compare(Compare::Le), 2),
        b'<' => (Tok::Compare(Compare::Lt), 1),
        b'>' if follows(b'=') => (Tok::Compare(Compare::Ge), 2),
        b'>' => (Tok::Compare(Compare::Gt), 1),
        _ => (Tok::Unknown, text[at..].chars().next().map_or(1, char::len_utf8)),
    }
}
