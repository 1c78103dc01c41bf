//! The stored form of items: compact, versioned bytes.
//!
//! The store's envelope (format, encryption key id), then `count | (name, value)…` with lengths and counts as base-128
//! varints, least group first.

mod json;

use crate::item::{Item, Value};
use crate::number::Number;
use squall_store::envelope;

pub use json::write_json;

/// Lists and maps that decoding follows: deeper bytes were not written by us.
const DEPTH_MAX: usize = crate::item::NESTING_MAX + 8;

mod tag {
    pub const S: u8 = 0;
    pub const N: u8 = 1;
    pub const B: u8 = 2;
    pub const FALSE: u8 = 3;
    pub const TRUE: u8 = 4;
    pub const NULL: u8 = 5;
    pub const L: u8 = 6;
    pub const M: u8 = 7;
    pub const SS: u8 = 8;
    pub const NS: u8 = 9;
    pub const BS: u8 = 10;
}

/// The stored form of an item.
pub fn encode(item: &Item) -> Vec<u8> {
    // Values rarely need more than their counted size plus a few bytes per attribute. The envelope is written in place:
    // sealing a finished body would copy it.
    let mut out = Vec::with_capacity(envelope::HEAD + 16 + item.size_bytes() + 6 * item.len());
    out.extend_from_slice(&[envelope::FORMAT, 0, 0, 0, 0]);
    write_item(item, &mut out);
    out
}

/// The item of its stored form.
///
/// # Errors
/// `Corrupt` for a newer or encrypted form, for bytes that are no item or go on after it.
pub fn decode(bytes: &[u8]) -> Result<Item, squall_store::Error> {
    let mut input = envelope::open(bytes)?;
    match read_item(&mut input, 0) {
        Some(item) if input.is_empty() => Ok(item),
        _ => Err(squall_store::Error::Corrupt("a stored item is damaged".into())),
    }
}

/// One attribute of a stored item, without reading the others; `None` when the item has none of that name or is damaged.
pub fn find(bytes: &[u8], name: &str) -> Option<Value> {
    let mut input = envelope::open(bytes).ok()?;
    for _ in 0..read_count(&mut input)? {
        let found = read_bytes(&mut input)?;
        if found == name.as_bytes() {
            return read_value(&mut input, 0);
        }
        if found > name.as_bytes() {
            return None;
        }
        skip_value(&mut input, 0)?;
    }
    None
}

fn skip_value(input: &mut &[u8], depth: usize) -> Option<()> {
    match input.first()? {
        &tag::S | &tag::B => {
            *input = &input[1..];
            read_bytes(input).map(drop)
        }
        _ => read_value(input, depth).map(drop),
    }
}

/// Appends a length or count.
pub fn write_count(mut n: usize, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends bytes after their length.
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn write_item(item: &Item, out: &mut Vec<u8>) {
    write_count(item.len(), out);
    for (name, value) in item.iter() {
        write_bytes(name.as_bytes(), out);
        write_value(value, out);
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::S(s) => {
            out.push(tag::S);
            write_bytes(s.as_bytes(), out);
        }
        Value::N(n) => {
            out.push(tag::N);
            n.encode(out);
        }
        Value::B(b) => {
            out.push(tag::B);
            write_bytes(b, out);
        }
        Value::Bool(b) => out.push(if *b { tag::TRUE } else { tag::FALSE }),
        Value::Null => out.push(tag::NULL),
        Value::L(list) => write_all(tag::L, list, out, write_value),
        Value::M(map) => {
            out.push(tag::M);
            write_item(map, out);
        }
        Value::Ss(set) => write_all(tag::SS, set, out, |s, out| write_bytes(s.as_bytes(), out)),
        Value::Ns(set) => write_all(tag::NS, set, out, Number::encode),
        Value::Bs(set) => write_all(tag::BS, set, out, |b, out| write_bytes(b, out)),
    }
}

fn write_all<T>(tag: u8, members: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(tag);
    write_count(members.len(), out);
    members.iter().for_each(|m| write(m, out));
}

/// Reads a length or count and moves past it.
pub fn read_count(input: &mut &[u8]) -> Option<usize> {
    let mut value = 0usize;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Reads bytes after their length and moves past them.
pub fn read_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_count(input)?;
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(bytes)
}

/// Reads a text after its length and moves past it.
pub fn read_text(input: &mut &[u8]) -> Option<String> {
    let bytes = read_bytes(input)?;
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn read_item(input: &mut &[u8], depth: usize) -> Option<Item> {
    let count = read_count(input)?;
    let mut item = Item::new();
    for _ in 0..count {
        let name = read_text(input)?;
        item.insert(name, read_value(input, depth)?);
    }
    Some(item)
}

fn read_value(input: &mut &[u8], depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    let (&head, rest) = input.split_first()?;
    *input = rest;
    Some(match head {
        tag::S => Value::S(read_text(input)?),
        tag::N => Value::N(Number::decode(input)?),
        tag::B => Value::B(read_bytes(input)?.to_vec()),
        tag::FALSE => Value::Bool(false),
        tag::TRUE => Value::Bool(true),
        tag::NULL => Value::Null,
        tag::L => Value::L(read_all(input, |i| read_value(i, depth + 1))?),
        tag::M => Value::M(read_item(input, depth + 1)?),
        tag::SS => Value::Ss(read_all(input, read_text)?),
        tag::NS => Value::Ns(read_all(input, Number::decode)?),
        tag::BS => Value::Bs(read_all(input, |i| read_bytes(i).map(<[u8]>::to_vec))?),
        _ => return None,
    })
}

fn read_all<T>(input: &mut &[u8], mut read: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = read_count(input)?;
    // A damaged count must not reserve memory: every member takes at least one byte.
    let mut members = Vec::with_capacity(count.min(input.len()));
    for _ in 0..count {
        members.push(read(input)?);
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, random_item};

    #[test]
    fn items_come_back_as_they_went() {
        let mut r = Random::new(5);
        for _ in 0..3_000 {
            let item = random_item(&mut r);
            let bytes = encode(&item);
            for name in ["a", "c", "f", "zz"] {
                assert_eq!(find(&bytes, name).as_ref(), item.get(name));
            }
            assert_eq!(decode(&bytes).ok(), Some(item));
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let mut r = Random::new(6);
        for _ in 0..3_000 {
            let mut bytes = encode(&random_item(&mut r));
            for _ in 0..1 + r.below(3) {
                let at = r.below(bytes.len() as u64) as usize;
                bytes[at] = r.next() as u8;
            }
            bytes.truncate(r.below(bytes.len() as u64 + 1) as usize);
            let _ = decode(&bytes);
            let _ = find(&bytes, "c");
        }
        for bad in [&[][..], &[2, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 1, 1, b'a', 99]] {
            assert!(decode(bad).is_err());
        }
    }

    #[test]
    fn sizes_follow_the_guide() {
        let mut item = Item::new();
        item.insert("pk".into(), Value::S("abc".into()));
        assert_eq!(item.size_bytes(), 5);
        item.insert("l".into(), Value::L(vec![Value::Bool(true), Value::Null]));
        assert_eq!(item.size_bytes(), 5 + 1 + 3 + 4);
        let map: Item = [("a".to_owned(), Value::B(vec![1, 2]))].into_iter().collect();
        item.insert("m".into(), Value::M(map));
        assert_eq!(item.size_bytes(), 13 + 1 + 3 + 1 + 1 + 2);
        assert_eq!(item.nesting(), 2);
    }

    #[test]
    fn sets_are_equal_in_any_order() {
        let set = |members: &[&str]| Value::Ss(members.iter().map(|m| (*m).to_owned()).collect());
        assert_eq!(set(&["a", "b"]), set(&["b", "a"]));
        assert_ne!(set(&["a", "b"]), set(&["b", "c"]));
        assert_ne!(set(&["a"]), set(&["b", "a"]));
    }
}
