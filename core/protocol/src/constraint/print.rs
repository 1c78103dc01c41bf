//! Values as Java prints them, for messages.

use crate::Value;
use crate::schema::{Kind, Shape};
use crate::timestamp;
use std::fmt;

/// A message repeats no more of a value than this.
const BYTES_MAX: usize = 16 * 1024;

/// A member's name as messages have it: only the first letter changes (`SSEType` is `sSEType`).
pub(super) struct LowerFirst<'s>(pub &'s str);

impl fmt::Display for LowerFirst<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        match chars.next() {
            Some(first) => write!(f, "{}{}", first.to_ascii_lowercase(), chars.as_str()),
            None => Ok(()),
        }
    }
}

/// The value as Java's `toString` prints it; past the bound it is cut off.
pub(super) fn java(shape: &Shape, value: &Value) -> String {
    let mut out = String::new();
    print(&mut out, shape, value);
    if out.len() > BYTES_MAX {
        let end = (0..=BYTES_MAX).rev().find(|i| out.is_char_boundary(*i)).unwrap_or(0);
        out.truncate(end);
        out.push_str("...");
    }
    out
}

fn print(out: &mut String, shape: &Shape, value: &Value) {
    if out.len() > BYTES_MAX {
        return;
    }
    match (value, &shape.kind) {
        (Value::Str(s), _) => out.push_str(s),
        (Value::Bool(b), _) => out.push_str(&b.to_string()),
        (Value::Int(n), _) => out.push_str(&n.to_string()),
        (Value::Double(d), _) => out.push_str(&format!("{d:?}")),
        (Value::Time(t), _) => out.push_str(&timestamp::iso8601(*t)),
        (Value::Blob(b), _) => out.push_str(&format!("java.nio.HeapByteBuffer[pos=0 lim={0} cap={0}]", b.len())),
        (Value::Document(d), _) => out.push_str(&d.to_string()),
        (Value::List(list), Kind::List { member, .. }) => {
            enclosed(out, '[', list.iter(), ']', |out, v| print(out, member, v));
        }
        (Value::Map(map), Kind::Map { value: shape, .. }) => {
            enclosed(out, '{', map.iter(), '}', |out, (k, v)| {
                out.push_str(k);
                out.push('=');
                print(out, shape, v);
            });
        }
        (Value::Struct(_), Kind::Structure { members, .. }) => {
            out.push_str(shape.name);
            enclosed(out, '(', (0_u16..).zip(*members), ')', |out, (index, member)| {
                out.push_str(&format!("{}=", LowerFirst(member.name)));
                print(out, member.shape, value.member(index).unwrap_or(&Value::Null));
            });
        }
        (Value::Null | Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::Json(_), _) => out.push_str("null"),
    }
}

fn enclosed<T>(out: &mut String, open: char, all: impl Iterator<Item = T>, close: char, f: impl Fn(&mut String, T)) {
    out.push(open);
    for (i, one) in all.enumerate() {
        if out.len() > BYTES_MAX {
            break;
        }
        if i > 0 {
            out.push_str(", ");
        }
        f(out, one);
    }
    out.push(close);
}
