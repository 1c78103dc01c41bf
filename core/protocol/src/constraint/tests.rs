//! Cases of constraints.

use super::{check, is_pattern_checked, pattern};
use crate::Value;
use crate::fixture::{GATEWAY, IAM, LAMBDA, NODE, ORDER, text};

/// A structure of [`ORDER`] by member names.
fn order(members: &[(&str, Value)]) -> Value {
    let index = |name: &str| ORDER.members().iter().position(|m| m.name == name).expect("a member");
    Value::Struct(members.iter().map(|(name, v)| (index(name) as u16, v.clone())).collect())
}

fn verdict(members: &[(&str, Value)]) -> String {
    let mut all = vec![("OrderName", text("abc"))];
    all.retain(|(name, _)| !members.iter().any(|(n, _)| n == name));
    all.extend_from_slice(members);
    check(&LAMBDA, &ORDER, &order(&all)).err().unwrap_or_default()
}

fn one(rest: &str) -> String {
    format!("1 validation error detected: {rest}")
}

#[test]
fn values_within_their_constraints_pass() {
    assert_eq!(verdict(&[]), "");
    assert_eq!(verdict(&[("Color", text("RED")), ("Count", Value::Int(100)), ("Ratio", Value::Double(0.5))]), "");
    assert_eq!(verdict(&[("OrderName", text("äöü").clone())]).matches("pattern").count(), 1, "characters, not bytes");
}

#[test]
fn each_constraint_has_its_text() {
    let tag = |k: &str| Value::Struct(vec![(0, text(k))]);
    let cases = [
        (
            "OrderName",
            text("abcdefghijk"),
            "Value 'abcdefghijk' at 'orderName' failed to satisfy constraint: Member must have length less than or equal to 10",
        ),
        ("OrderName", Value::Null, "Value null at 'orderName' failed to satisfy constraint: Member must not be null"),
        (
            "OrderName",
            text("ab1"),
            "Value 'ab1' at 'orderName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z.]+",
        ),
        (
            "Color",
            text("BLUE"),
            "Value 'BLUE' at 'color' failed to satisfy constraint: Member must satisfy enum value set: [RED, GREEN]",
        ),
        (
            "Count",
            Value::Int(101),
            "Value '101' at 'count' failed to satisfy constraint: Member must have value less than or equal to 100",
        ),
        (
            "Count",
            Value::Int(0),
            "Value '0' at 'count' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            "Ratio",
            Value::Double(1.5),
            "Value '1.5' at 'ratio' failed to satisfy constraint: Member must have value less than or equal to 1",
        ),
        (
            "Colors",
            Value::List(vec![text("RED"), text("BLUE")]),
            "Value '[RED, BLUE]' at 'colors' failed to satisfy constraint: Member must satisfy constraint: \
             [Member must satisfy enum value set: [RED, GREEN]]",
        ),
        (
            "Colors",
            Value::List(vec![text("RED"), text("RED"), text("RED")]),
            "Value '[RED, RED, RED]' at 'colors' failed to satisfy constraint: Member must have length less than or equal to 2",
        ),
        (
            "Tags",
            Value::List(vec![tag("abc"), tag("ab")]),
            "Value 'ab' at 'tags.2.member.key' failed to satisfy constraint: Member must have length greater than or equal to 3",
        ),
        (
            "Tags",
            Value::List(vec![Value::Struct(vec![(1, text("v"))])]),
            "Value null at 'tags.1.member.key' failed to satisfy constraint: Member must not be null",
        ),
        (
            "Names",
            Value::Map(vec![("A".into(), text("abc"))]),
            "Value '{A=abc}' at 'names' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have \
             length less than or equal to 10, Member must have length greater than or equal to 3, Member must satisfy \
             regular expression pattern: [a-z.]+]",
        ),
        (
            "TagMap",
            Value::Map(vec![("k".into(), tag("ab"))]),
            "Value 'ab' at 'tagMap.k.member.key' failed to satisfy constraint: Member must have length greater than or equal to 3",
        ),
        (
            "SSEBytes",
            Value::Blob(b"abc".as_slice().into()),
            "Value 'java.nio.HeapByteBuffer[pos=0 lim=3 cap=3]' at 'sSEBytes' failed to satisfy constraint: Member must \
             have length less than or equal to 2",
        ),
    ];
    for (name, value, expected) in cases {
        assert_eq!(verdict(&[(name, value)]), one(expected));
    }
}

#[test]
fn several_violations_come_in_one_message() {
    assert_eq!(
        verdict(&[("OrderName", text("")), ("Color", text("x"))]),
        "3 validation errors detected: Value '' at 'orderName' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: [a-z.]+; Value '' at 'orderName' failed to satisfy constraint: Member must have length greater \
         than or equal to 3; Value 'x' at 'color' failed to satisfy constraint: Member must satisfy enum value set: [RED, GREEN]"
    );
    let tags = (0..50).map(|_| Value::Struct(Vec::new())).collect();
    let message = verdict(&[("Tags", Value::List(tags))]);
    assert!(message.starts_with("10 validation errors detected: "), "{message}");
}

#[test]
fn services_have_their_own_paths_and_texts() {
    let colors = order(&[("OrderName", text("abc")), ("Colors", Value::List(vec![text("x")]))]);
    let message = check(&GATEWAY, &ORDER, &colors).expect_err("wrong color");
    assert!(message.contains("at 'createOrderInput.colors' failed"), "{message}");
    let color = order(&[("OrderName", text("abc")), ("Color", text("x"))]);
    assert_eq!(
        check(&IAM, &ORDER, &color).expect_err("wrong color"),
        one("Value at 'color' failed to satisfy constraint: Member must satisfy enum value set")
    );
}

#[test]
fn shapes_without_constraints_are_passed_over() {
    let mut value = Value::Struct(Vec::new());
    for _ in 0..200 {
        value = Value::Struct(vec![(10, value)]);
    }
    assert_eq!(check(&LAMBDA, &NODE, &value), Ok(()));
}

#[test]
fn a_message_repeats_only_so_much() {
    let tags: Vec<_> = (0..50_000).map(|i| (format!("K{i}"), text("abc"))).collect();
    let message = verdict(&[("Names", Value::Map(tags))]);
    assert!(message.len() < 20_000, "{}", message.len());
}

#[test]
fn java_patterns_match_whole_texts() {
    let cases: &[(&'static str, &[&str], &[&str])] = &[
        ("[a-z]+", &["abc"], &["abc1", "", "ab\n"]),
        ("a|bc", &["a", "bc"], &["abc", "ac"]),
        ("^[a-z]+$", &["abc"], &["abc1"]),
        ("[\\w+=,.@-]+", &["a_b-c@d"], &["ü", "a b"]),
        ("((?!^\\d+$)^[0-9a-zA-Z-_]+$)", &["live", "1a"], &["1", "12", ""]),
        ("(?!^[0-9]+$)([a-zA-Z0-9-_]+)", &["a1"], &["2024"]),
        ("^(?!aws:)(?=.*[a-z]).+$", &["my:key"], &["aws:key", "123"]),
        ("[0-9A-Za-z\\.\\-_]*(?<!\\.)", &["a.b"], &["a.b."]),
        ("[\\u0020-\\uD7FF\\uE000-\\uFFFD\\uD800\\uDC00-\\uDBFF\\uDFFF]*", &["a😀"], &["\u{1}"]),
        ("[\\s\\S]*", &["any\nthing"], &[]),
        ("\\\\d", &["\\d"], &["1"]),
        ("\\p{Alnum}[\\p{Punct}]", &["a!"], &["!a", "ä!"]),
    ];
    for (pattern, good, bad) in cases {
        assert!(is_pattern_checked(pattern), "{pattern}");
        for text in *good {
            assert!(pattern::matches(pattern, text), "{pattern} takes {text:?}");
        }
        for text in *bad {
            assert!(!pattern::matches(pattern, text), "{pattern} refuses {text:?}");
        }
    }
}

#[test]
fn patterns_that_cannot_be_compiled_are_passed_over() {
    for pattern in ["(a)\\1", "a(?!b)c", "(?!a)b|c", "(", "(?!", "((?!"] {
        assert!(!is_pattern_checked(pattern), "{pattern}");
        assert!(pattern::matches(pattern, "anything"));
    }
}
