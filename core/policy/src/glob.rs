//! Patterns of policies, compiled once: `*`, `?` and policy variables, matched without allocation where there are no variables.
//!
//! `*` matches any run of characters and `?` exactly one character, over the whole text. A value that a variable brings in
//! is literal: a `*` inside it matches only `*`.

use crate::context::Scope;

/// One step of a compiled pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elem {
    /// This byte.
    Byte(u8),
    /// Any run of characters.
    Star,
    /// One character.
    One,
}

/// A run of steps, or a variable to fill in when a request is known.
#[derive(Clone, Debug)]
enum Part {
    Elems(Vec<Elem>),
    Variable { key: String, default: Option<String> },
}

/// How a text is to be read as a pattern.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Syntax {
    /// `*` and `?` are wildcards.
    pub(crate) wildcards: bool,
    /// `${…}` is a variable (policies of version 2012-10-17).
    pub(crate) variables: bool,
    /// The caller gives lower-case text; the pattern follows.
    pub(crate) lower_case: bool,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    form: Form,
    lower_case: bool,
}

/// The cheapest form that can decide the pattern.
#[derive(Clone, Debug)]
enum Form {
    Any,
    Exact(Box<str>),
    Prefix(Box<str>),
    Elems(Box<[Elem]>),
    Template(Box<[Part]>),
}

impl Pattern {
    /// Compiles `text`.
    pub(crate) fn new(text: &str, syntax: Syntax) -> Self {
        let folded;
        let text = if syntax.lower_case && !syntax.variables {
            folded = text.to_lowercase();
            &folded
        } else {
            text
        };
        let parts = tokenise(text, syntax);
        Self { form: form_of(parts), lower_case: syntax.lower_case }
    }

    /// Whether the whole of `text` matches. An unknown variable matches nothing.
    pub(crate) fn matches(&self, text: &str, scope: &Scope<'_>) -> bool {
        match &self.form {
            Form::Any => true,
            Form::Exact(exact) => **exact == *text,
            Form::Prefix(prefix) => text.starts_with(&**prefix),
            Form::Elems(elems) => glob(elems, text.as_bytes()),
            Form::Template(parts) => {
                expand(parts, scope, self.lower_case).is_some_and(|elems| glob(&elems, text.as_bytes()))
            }
        }
    }
}

/// A pattern over an ARN: each of the six parts is matched by itself, so that `*` does not cross a colon of the first five.
#[derive(Clone, Debug)]
pub(crate) struct ArnPattern {
    parts: Box<[Part]>,
}

impl ArnPattern {
    /// Compiles `text`; `variables` as in [`Syntax`].
    pub(crate) fn new(text: &str, variables: bool) -> Self {
        let syntax = Syntax { wildcards: true, variables, lower_case: false };
        Self { parts: tokenise(text, syntax).into() }
    }

    /// Whether the ARN `text` matches.
    pub(crate) fn matches(&self, text: &str, scope: &Scope<'_>) -> bool {
        match &*self.parts {
            [Part::Elems(elems)] => arn_glob(elems, text),
            parts => expand(parts, scope, false).is_some_and(|elems| arn_glob(&elems, text)),
        }
    }
}

fn arn_glob(mut elems: &[Elem], mut text: &str) -> bool {
    if elems == [Elem::Star] {
        return true;
    }
    for _ in 0..5 {
        let Some(cut) = elems.iter().position(|elem| *elem == Elem::Byte(b':')) else {
            return false;
        };
        let Some((head, rest)) = text.split_once(':') else {
            return false;
        };
        let (pattern, after) = elems.split_at(cut);
        if !glob(pattern, head.as_bytes()) {
            return false;
        }
        elems = after.get(1..).unwrap_or_default();
        text = rest;
    }
    glob(elems, text.as_bytes())
}

fn tokenise(text: &str, syntax: Syntax) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut elems: Vec<Elem> = Vec::new();
    let mut rest = text;
    while let Some(byte) = rest.as_bytes().first().copied() {
        if let Some((inside, after)) = syntax.variables.then(|| placeholder(rest)).flatten() {
            if matches!(inside, "*" | "?" | "$") {
                elems.extend(inside.bytes().map(Elem::Byte));
            } else {
                if !elems.is_empty() {
                    parts.push(Part::Elems(std::mem::take(&mut elems)));
                }
                parts.push(variable(inside));
            }
            rest = after;
            continue;
        }
        let width = rest.chars().next().map_or(1, char::len_utf8);
        let (head, after) = rest.split_at(width);
        match byte {
            b'*' if syntax.wildcards => {
                if elems.last() != Some(&Elem::Star) {
                    elems.push(Elem::Star);
                }
            }
            b'?' if syntax.wildcards => elems.push(Elem::One),
            _ if syntax.lower_case => elems.extend(head.to_lowercase().bytes().map(Elem::Byte)),
            _ => elems.extend(head.bytes().map(Elem::Byte)),
        }
        rest = after;
    }
    if !elems.is_empty() || parts.is_empty() {
        parts.push(Part::Elems(elems));
    }
    parts
}

/// `${inside}` at the start of `text`, and what follows it.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("${")?.split_once('}')
}

/// `name` or `name, 'default'`.
fn variable(inside: &str) -> Part {
    let (key, default) = match inside.split_once(',') {
        Some((key, default)) => {
            let default = default.trim();
            let bare = default.strip_prefix('\'').and_then(|d| d.strip_suffix('\'')).unwrap_or(default);
            (key.trim(), Some(bare.to_owned()))
        }
        None => (inside.trim(), None),
    };
    Part::Variable { key: key.to_owned(), default }
}

fn form_of(parts: Vec<Part>) -> Form {
    let [Part::Elems(elems)] = parts.as_slice() else {
        return Form::Template(parts.into());
    };
    if elems.as_slice() == [Elem::Star] {
        return Form::Any;
    }
    let literal: Vec<u8> =
        elems.iter().map_while(|elem| if let Elem::Byte(b) = elem { Some(*b) } else { None }).collect();
    let tail = elems.get(literal.len()..).unwrap_or_default();
    match (String::from_utf8(literal), tail) {
        (Ok(text), []) => Form::Exact(text.into()),
        (Ok(text), [Elem::Star]) => Form::Prefix(text.into()),
        _ => Form::Elems(elems.clone().into()),
    }
}

fn expand(parts: &[Part], scope: &Scope<'_>, lower_case: bool) -> Option<Vec<Elem>> {
    let mut out = Vec::with_capacity(64);
    for part in parts {
        match part {
            Part::Elems(elems) => out.extend_from_slice(elems),
            Part::Variable { key, default } => {
                let value = match scope.variable(key) {
                    Some(value) => value,
                    None => default.as_deref()?.into(),
                };
                if lower_case {
                    out.extend(value.to_lowercase().bytes().map(Elem::Byte));
                } else {
                    out.extend(value.bytes().map(Elem::Byte));
                }
            }
        }
    }
    Some(out)
}

/// Greedy glob with one point of return: time is at most pattern × text, memory none.
pub(crate) fn glob(pattern: &[Elem], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        match pattern.get(p) {
            Some(Elem::Star) => {
                p += 1;
                retry = Some((p, t));
                continue;
            }
            Some(Elem::One) => {
                p += 1;
                t = next_char(text, t);
                continue;
            }
            Some(Elem::Byte(want)) if *want == byte => {
                p += 1;
                t += 1;
                continue;
            }
            _ => {}
        }
        let Some((after_star, from)) = retry else {
            return false;
        };
        let from = next_char(text, from);
        retry = Some((after_star, from));
        (p, t) = (after_star, from);
    }
    pattern.get(p..).unwrap_or_default().iter().all(|elem| *elem == Elem::Star)
}

/// The start of the character after the one at `at`: continuation bytes of UTF-8 belong to their first byte.
fn next_char(text: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    while text.get(next).is_some_and(|b| b & 0xC0 == 0x80) {
        next += 1;
    }
    next
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
