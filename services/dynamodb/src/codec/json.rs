//! Stored items written as the JSON of an answer, without an item in between.
//!
//! A page of a query is read, counted and sent on as it is: decoding it would make and drop several texts for every attribute.
//! The result is what the protocol's writer makes of the decoded item, byte for byte (a test compares them).

use super::{DEPTH_MAX, read_bytes, read_count, tag};
use crate::number::Number;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use squall_protocol::codec::write_text;
use squall_store::envelope;

/// Appends a stored item as a map of attribute values; answers the bytes that the item counts.
///
/// # Errors
/// `Corrupt` as [`super::decode`]; what was appended until then is to be thrown away.
pub fn write_json(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, squall_store::Error> {
    let mut input = envelope::open(bytes)?;
    match item(&mut input, 0, out) {
        Some((_, size)) if input.is_empty() => Ok(size),
        _ => Err(squall_store::Error::Corrupt("a stored item is damaged".into())),
    }
}

/// Number of attributes, and bytes that they count.
fn item(input: &mut &[u8], depth: usize, out: &mut Vec<u8>) -> Option<(usize, usize)> {
    let count = read_count(input)?;
    let mut size = 0;
    out.push(b'{');
    for at in 0..count {
        if at > 0 {
            out.push(b',');
        }
        size += text(input, out)?;
        out.push(b':');
        size += value(input, depth, out)?;
    }
    out.push(b'}');
    Some((count, size))
}

fn text(input: &mut &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let text = std::str::from_utf8(read_bytes(input)?).ok()?;
    write_text(out, text);
    Some(text.len())
}

fn number(input: &mut &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let number = Number::decode(input)?;
    write_text(out, &number.to_string());
    Some(number.size_bytes())
}

fn binary(input: &mut &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let bytes = read_bytes(input)?;
    write_text(out, &STANDARD.encode(bytes));
    Some(bytes.len())
}

/// Bytes that the value counts.
fn value(input: &mut &[u8], depth: usize, out: &mut Vec<u8>) -> Option<usize> {
    if depth > DEPTH_MAX {
        return None;
    }
    let (&head, rest) = input.split_first()?;
    *input = rest;
    let mut named = |name: &[u8]| {
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(name);
        out.extend_from_slice(b"\":");
    };
    let size = match head {
        tag::S => {
            named(b"S");
            text(input, out)?
        }
        tag::N => {
            named(b"N");
            number(input, out)?
        }
        tag::B => {
            named(b"B");
            binary(input, out)?
        }
        tag::FALSE | tag::TRUE => {
            named(b"BOOL");
            out.extend_from_slice(if head == tag::TRUE { b"true" } else { b"false" });
            1
        }
        tag::NULL => {
            named(b"NULL");
            out.extend_from_slice(b"true");
            1
        }
        tag::L => {
            named(b"L");
            let (count, size) = members(input, out, |input, out| value(input, depth + 1, out))?;
            3 + count + size
        }
        tag::M => {
            named(b"M");
            let (count, size) = item(input, depth + 1, out)?;
            3 + count + size
        }
        tag::SS => {
            named(b"SS");
            members(input, out, text)?.1
        }
        tag::NS => {
            named(b"NS");
            members(input, out, number)?.1
        }
        tag::BS => {
            named(b"BS");
            members(input, out, binary)?.1
        }
        _ => return None,
    };
    out.push(b'}');
    Some(size)
}

/// Number of members, and bytes that they count by themselves.
fn members(
    input: &mut &[u8],
    out: &mut Vec<u8>,
    mut member: impl FnMut(&mut &[u8], &mut Vec<u8>) -> Option<usize>,
) -> Option<(usize, usize)> {
    let count = read_count(input)?;
    let mut size = 0;
    out.push(b'[');
    for at in 0..count {
        if at > 0 {
            out.push(b',');
        }
        size += member(input, out)?;
    }
    out.push(b']');
    Some((count, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use crate::testing::{Random, random_item};
    use crate::wire;
    use squall_protocol::Value as Wire;

    /// The protocol's own JSON of a GetItem with this item.
    fn answer(item: Wire) -> String {
        let service = &crate::api::SERVICE;
        let get = service.operation("GetItem").expect("served");
        let mut out = wire::Output::new(get.output.expect("an output"));
        out.set("Item", Some(item));
        String::from_utf8(squall_protocol::encode(service, get, out.finish(), "r").body.into()).expect("UTF-8")
    }

    #[test]
    fn json_is_what_the_protocol_writes_of_the_item() {
        let mut r = Random::new(17);
        for _ in 0..3_000 {
            let item = random_item(&mut r);
            let mut json = Vec::new();
            assert_eq!(write_json(&encode(&item), &mut json).ok(), Some(item.size_bytes()));
            assert_eq!(answer(Wire::Json(json)), answer(wire::item_value(item)));
        }
    }

    #[test]
    fn damaged_bytes_are_refused_as_decoding_does() {
        let mut r = Random::new(18);
        for _ in 0..3_000 {
            let mut bytes = encode(&random_item(&mut r));
            for _ in 0..1 + r.below(3) {
                let at = r.below(bytes.len() as u64) as usize;
                bytes[at] = r.next() as u8;
            }
            bytes.truncate(r.below(bytes.len() as u64 + 1) as usize);
            assert_eq!(write_json(&bytes, &mut Vec::new()).is_ok(), decode(&bytes).is_ok());
        }
    }
}
