//! The models' patterns, which are Java's regular expressions, on the `regex` crate.
//!
//! Classes are Java's, so ASCII only; lookaheads at the very start and a lookbehind at the very end become matches of their
//! own. A pattern that still does not compile is not checked, which [`is_checked`] tells: of 342 patterns of 23 services, 7.

use regex::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::{OnceLock, RwLock};

/// Largest compiled pattern. The models have repetitions in the thousands over all of Unicode.
const COMPILED_BYTES_MAX: usize = 32 << 20;
/// Largest cache of the lazy automaton, per pattern and thread.
const CACHE_BYTES_MAX: usize = 4 << 20;

/// A compiled pattern: what must (not) match at the start or end, and the rest, which matches the whole text.
#[derive(Debug)]
struct Pattern {
    around: Vec<(bool, Regex)>,
    whole: Regex,
}

/// Whether the whole text matches; true for patterns that cannot be checked.
pub(super) fn matches(pattern: &'static str, text: &str) -> bool {
    compiled(pattern).is_none_or(|p| {
        p.around.iter().all(|(wanted, regex)| regex.is_match(text) == *wanted) && p.whole.is_match(text)
    })
}

/// Whether values are checked against this pattern; false when it needs what the `regex` crate does not have.
#[must_use]
pub fn is_checked(pattern: &'static str) -> bool {
    compiled(pattern).is_some()
}

/// The compiled pattern, kept for the life of the process: patterns are `static`, so there are as many as tables have.
fn compiled(pattern: &'static str) -> Option<&'static Pattern> {
    static ALL: OnceLock<RwLock<HashMap<&'static str, Option<&'static Pattern>>>> = OnceLock::new();
    let all = ALL.get_or_init(Default::default);
    if let Some(known) = all.read().unwrap_or_else(|e| e.into_inner()).get(pattern) {
        return *known;
    }
    let made = compile(pattern).map(|p| &*Box::leak(Box::new(p)));
    *all.write().unwrap_or_else(|e| e.into_inner()).entry(pattern).or_insert(made)
}

fn compile(pattern: &str) -> Option<Pattern> {
    let java = translate(pattern);
    let build = |text: &str| {
        RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(CACHE_BYTES_MAX).build().ok()
    };
    let (ahead, rest) = lookaheads(&java)?;
    let (behind, rest) = lookbehind(rest);
    let ahead = ahead.into_iter().map(|(wanted, inner)| (wanted, format!("^(?:{inner})")));
    let behind = behind.into_iter().map(|inner| (false, format!("(?:{inner})$")));
    let around: Option<Vec<_>> = ahead.chain(behind).map(|(wanted, text)| Some((wanted, build(&text)?))).collect();
    Some(Pattern { around: around?, whole: build(&format!("^(?:{rest})$"))? })
}

/// What the text must not end with, and the rest.
fn lookbehind(java: &str) -> (Option<&str>, &str) {
    let text = java.strip_suffix('$').unwrap_or(java);
    let found = text.strip_suffix(')').and_then(|t| t.rsplit_once("(?<!"));
    match found {
        Some((rest, inner)) if !inner.contains(['(', ')']) && !has_alternatives(rest) => (Some(inner), rest),
        _ => (None, java),
    }
}

/// The lookaheads at the start, and the rest; `None` when they do not govern the whole pattern.
fn lookaheads(java: &str) -> Option<(Vec<(bool, &str)>, &str)> {
    let mut found = Vec::new();
    let mut rest = java;
    loop {
        let inner = rest.strip_prefix('^').unwrap_or(rest);
        if let Some((wanted, at)) = [("(?!", false), ("(?=", true)]
            .into_iter()
            .find_map(|(open, wanted)| inner.starts_with(open).then_some((wanted, open.len())))
        {
            let end = closing(inner)?;
            found.push((wanted, inner.get(at..end)?));
            rest = inner.get(end + 1..)?;
        } else if inner.starts_with("((?!") || inner.starts_with("((?=") {
            // `((?!x)y)`: the group adds nothing when it spans the whole pattern.
            let end = closing(inner)?;
            let after = inner.get(end + 1..)?;
            rest = inner.get(1..end).filter(|_| after.is_empty() || after == "$")?;
        } else {
            break;
        }
    }
    (found.is_empty() || !has_alternatives(rest)).then_some((found, rest))
}

/// Where the group that starts the text closes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in outside_classes(text) {
        match c {
            '(' => depth += 1,
            ')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn has_alternatives(text: &str) -> bool {
    let mut depth = 0_usize;
    outside_classes(text).any(|(_, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && c == '|'
    })
}

/// Characters that are neither escaped nor inside a class, with their byte offsets.
fn outside_classes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut escaped, mut class) = (false, 0_usize);
    text.char_indices().filter_map(move |(at, c)| {
        let was_escaped = escaped;
        escaped = c == '\\' && !was_escaped;
        if was_escaped || c == '\\' {
            return None;
        }
        match c {
            '[' => class += 1,
            ']' => class = class.saturating_sub(1),
            _ if class == 0 => return Some((at, c)),
            _ => {}
        }
        None
    })
}

/// Java's escapes that mean something else, or nothing, to the `regex` crate.
fn translate(java: &str) -> String {
    const CLASSES: &[(&str, &str)] = &[
        // UTF-16 surrogates: how Java writes the characters beyond U+FFFF.
        ("\\uD800\\uDC00-\\uDBFF\\uDFFF", "\\x{10000}-\\x{10FFFF}"),
        ("\\ud800\\udc00-\\udbff\\udfff", "\\x{10000}-\\x{10FFFF}"),
        ("\\p{Alnum}", "[0-9A-Za-z]"),
        ("\\p{Alpha}", "[A-Za-z]"),
        ("\\p{ASCII}", "[\\x00-\\x7F]"),
        ("\\p{Digit}", "[0-9]"),
        ("\\p{Graph}", "[\\x21-\\x7E]"),
        ("\\p{Lower}", "[a-z]"),
        ("\\p{Print}", "[\\x20-\\x7E]"),
        ("\\p{Punct}", "[\\x21-\\x2F\\x3A-\\x40\\x5B-\\x60\\x7B-\\x7E]"),
        ("\\p{Space}", "[ \\t\\n\\x0B\\f\\r]"),
        ("\\p{Upper}", "[A-Z]"),
        ("\\w", "[0-9A-Za-z_]"),
        ("\\W", "[^0-9A-Za-z_]"),
        ("\\d", "[0-9]"),
        ("\\D", "[^0-9]"),
        ("\\s", "[ \\t\\n\\x0B\\f\\r]"),
        ("\\S", "[^ \\t\\n\\x0B\\f\\r]"),
        ("\\Z", "$"),
    ];
    let mut out = String::with_capacity(java.len() + 32);
    let mut rest = java;
    while let Some(c) = rest.chars().next() {
        if let Some((from, to)) = CLASSES.iter().find(|(from, _)| rest.starts_with(from)) {
            out.push_str(to);
            rest = &rest[from.len()..];
            continue;
        }
        // An escape is copied whole, so that `\\d` stays a backslash and a `d`.
        let length = if c == '\\' { 1 + rest[1..].chars().next().map_or(0, char::len_utf8) } else { c.len_utf8() };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}
