//! From values to Rust types and back; generated structures implement both by their members.

use crate::Value;
use bytes::Bytes;
use squall_types::Millis;
use std::collections::BTreeMap;

/// Makes a typed value. Codecs have already checked the form, so a mismatch is a fault of this program, not of the caller;
/// it becomes `None` and the member counts as absent.
pub trait FromValue: Sized {
    /// The typed form, or `None` for null.
    fn from_value(v: Value) -> Option<Self>;
}

/// Makes a [`Value`] for a codec.
pub trait IntoValue {
    /// The value; structures leave absent members out.
    fn into_value(self) -> Value;
}

macro_rules! scalar {
    ($($t:ty, $v:ident, $x:ident => $from:expr, $into:expr;)*) => {$(
        impl FromValue for $t {
            fn from_value(v: Value) -> Option<Self> {
                match v { Value::$v($x) => $from, _ => None }
            }
        }
        impl IntoValue for $t {
            fn into_value(self) -> Value { let $x = self; Value::$v($into) }
        }
    )*};
}

scalar! {
    bool, Bool, x => Some(x), x;
    i64, Int, x => Some(x), x;
    i32, Int, x => i32::try_from(x).ok(), i64::from(x);
    f64, Double, x => Some(x), x;
    String, Str, x => Some(x), x;
    Bytes, Blob, x => Some(x), x;
    Millis, Time, x => Some(x), x;
    serde_json::Value, Document, x => Some(*x), Box::new(x);
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(v: Value) -> Option<Self> {
        match v {
            Value::List(l) => Some(l.into_iter().filter_map(T::from_value).collect()),
            _ => None,
        }
    }
}

impl<T: IntoValue> IntoValue for Vec<T> {
    fn into_value(self) -> Value {
        Value::List(self.into_iter().map(T::into_value).collect())
    }
}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    fn from_value(v: Value) -> Option<Self> {
        match v {
            Value::Map(m) => Some(m.into_iter().filter_map(|(k, v)| Some((k, T::from_value(v)?))).collect()),
            _ => None,
        }
    }
}

impl<T: IntoValue> IntoValue for BTreeMap<String, T> {
    fn into_value(self) -> Value {
        Value::Map(self.into_iter().map(|(k, v)| (k, v.into_value())).collect())
    }
}

impl<T: FromValue> FromValue for Box<T> {
    fn from_value(v: Value) -> Option<Self> {
        T::from_value(v).map(Box::new)
    }
}

impl<T: IntoValue> IntoValue for Box<T> {
    fn into_value(self) -> Value {
        (*self).into_value()
    }
}

/// Appends a member if it is present; generated code calls it once per member.
pub fn push<T: IntoValue>(out: &mut Vec<(u16, Value)>, index: u16, member: Option<T>) {
    if let Some(m) = member {
        out.push((index, m.into_value()));
    }
}
