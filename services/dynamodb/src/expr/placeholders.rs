//! `ExpressionAttributeNames` and `ExpressionAttributeValues`: looked up while parsing, and none may stay unused.

use crate::error::Error;
use crate::item::Value;
use std::sync::Arc;

/// Most bytes of a placeholder.
const KEY_BYTES_MAX: usize = 255;

/// The placeholders of one request.
#[derive(Debug, Default)]
pub struct Placeholders {
    names: Vec<Entry<String>>,
    values: Vec<Entry<Arc<Value>>>,
}

#[derive(Debug)]
struct Entry<T> {
    key: String,
    to: T,
    used: bool,
}

impl Placeholders {
    /// Takes both parameters; keys were checked to be `#name` and `:value`.
    pub fn new(names: Vec<(String, String)>, values: Vec<(String, Value)>) -> Placeholders {
        Placeholders {
            names: names.into_iter().map(|(key, to)| Entry { key, to, used: false }).collect(),
            values: values.into_iter().map(|(key, to)| Entry { key, to: Arc::new(to), used: false }).collect(),
        }
    }

    /// Checks that a key of `ExpressionAttributeNames` is `#name`.
    ///
    /// # Errors
    /// `ValidationException` for another form.
    pub fn check_name(key: &str) -> Result<(), Error> {
        check_key("ExpressionAttributeNames", '#', key)
    }

    /// Checks that a key of `ExpressionAttributeValues` is `:value`.
    ///
    /// # Errors
    /// As [`Placeholders::check_name`].
    pub fn check_value(key: &str) -> Result<(), Error> {
        check_key("ExpressionAttributeValues", ':', key)
    }

    /// The attribute name behind `#name`.
    pub fn name(&mut self, key: &str) -> Option<String> {
        find(&mut self.names, key)
    }

    /// The value behind `:value`.
    pub fn value(&mut self, key: &str) -> Option<Arc<Value>> {
        find(&mut self.values, key)
    }

    /// Checks that every placeholder was used.
    ///
    /// # Errors
    /// `ValidationException` that lists the unused ones; names come first.
    pub fn check_used(&self) -> Result<(), Error> {
        check_used("ExpressionAttributeNames", &self.names)?;
        check_used("ExpressionAttributeValues", &self.values)
    }
}

fn find<T: Clone>(entries: &mut [Entry<T>], key: &str) -> Option<T> {
    let entry = entries.iter_mut().find(|e| e.key == key)?;
    entry.used = true;
    Some(entry.to.clone())
}

fn check_key(parameter: &str, mark: char, key: &str) -> Result<(), Error> {
    let rest = key.strip_prefix(mark).unwrap_or("");
    if !rest.is_empty() && key.len() <= KEY_BYTES_MAX && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(());
    }
    Err(Error::validation(format!("{parameter} contains invalid key: Syntax error; key: \"{key}\"")))
}

fn check_used<T>(parameter: &str, entries: &[Entry<T>]) -> Result<(), Error> {
    let unused: Vec<&str> = entries.iter().filter(|e| !e.used).map(|e| e.key.as_str()).collect();
    if unused.is_empty() {
        return Ok(());
    }
    let keys = unused.join(", ");
    Err(Error::validation(format!("Value provided in {parameter} unused in expressions: keys: {{{keys}}}")))
}
