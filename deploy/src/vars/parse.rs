//! The grammar of `${…}`.

use crate::yaml::Value;

/// A part of a string.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Text as it stands.
    Text(String),
    /// A variable: its sources in order, and how it was written.
    Variable(Vec<Source>, String),
}

/// One source of a variable.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Source {
    /// A value written in place.
    Literal(Value),
    /// A variable that nests as a whole: `${a, ${b}}`.
    Nested(String),
    /// `kind(params):address`; params and address may hold variables themselves.
    From { kind: String, params: Option<String>, address: String },
}

/// Splits a string into text and variables.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        plain.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        let end = closing(after).ok_or_else(|| format!("`{}` has no closing brace", &rest[start..]))?;
        let raw = &rest[start..start + 2 + end + 1];
        match variable(&after[..end])? {
            Some(sources) => {
                if !plain.is_empty() {
                    out.push(Piece::Text(std::mem::take(&mut plain)));
                }
                out.push(Piece::Variable(sources, raw.to_owned()));
            }
            None => plain.push_str(raw),
        }
        rest = &after[end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() || out.is_empty() {
        out.push(Piece::Text(plain));
    }
    Ok(out)
}

/// Index of the brace that closes a variable whose `${` was already read; braces in quotes do not count.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote = None;
    let mut before = ' ';
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            // A quote opens a literal only where a source begins: `${self:custom.it's}` has none.
            (None, '\'' | '"') if matches!(before, ' ' | ',' | '(') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(i),
            (None, '}') => depth -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// The sources within the braces; `None` when this is no variable of the framework.
fn variable(inner: &str) -> Result<Option<Vec<Source>>, String> {
    let parts = commas(inner);
    let first = parts.first().map_or("", |p| p.trim());
    let is_source = head(first).is_some() || (first.starts_with("${") && parts.len() > 1);
    if first.starts_with("AWS::") || !is_source {
        return Ok(None);
    }
    parts.iter().map(|p| source(p.trim())).collect::<Result<Vec<_>, _>>().map(Some)
}

/// Splits at commas that stand outside quotes, parentheses and nested variables.
fn commas(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut depth, mut quote, mut before) = (Vec::new(), 0, 0usize, None, ' ');
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if matches!(before, ' ' | ',' | '(') => quote = Some(c),
            (None, '{' | '(') => depth += 1,
            (None, '}' | ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                out.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
        before = c;
    }
    out.push(&text[start..]);
    out
}

/// `kind`, `params` and the address of `kind(params):address`.
fn head(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))).unwrap_or(text.len());
    let (kind, rest) = text.split_at(end);
    if !kind.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    if let Some(rest) = rest.strip_prefix('(') {
        let mut depth = 1usize;
        let close = rest.char_indices().find_map(|(i, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(i)
        })?;
        let after = &rest[close + 1..];
        let address = if after.is_empty() { "" } else { after.strip_prefix(':')? };
        return Some((kind, Some(&rest[..close]), address));
    }
    rest.strip_prefix(':').map(|address| (kind, None, address))
}

fn source(text: &str) -> Result<Source, String> {
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)).filter(|_| text.len() > 1) {
            return Ok(Source::Literal(Value::Str(inner.to_owned())));
        }
    }
    if text.starts_with("${") {
        return Ok(Source::Nested(text.to_owned()));
    }
    match text {
        "" => return Err("a variable has an empty source (a comma too many?)".into()),
        "null" => return Ok(Source::Literal(Value::Null)),
        "true" => return Ok(Source::Literal(Value::Bool(true))),
        "false" => return Ok(Source::Literal(Value::Bool(false))),
        _ => {}
    }
    if let Ok(n) = text.parse::<i64>() {
        return Ok(Source::Literal(Value::Int(n)));
    }
    if let Some(n) = text.parse::<f64>().ok().filter(|n| n.is_finite()) {
        return Ok(Source::Literal(Value::Float(n)));
    }
    match head(text) {
        Some((kind, params, address)) => {
            Ok(Source::From { kind: kind.into(), params: params.map(str::to_owned), address: address.into() })
        }
        None => Err(format!("`{text}` is no source of a variable; text needs quotes: '{text}'")),
    }
}
