//! Patterns against events.

use super::*;

fn check(pattern: &str, event: &str, expected: bool) {
    let compiled = Pattern::parse(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
    let event: Value = serde_json::from_str(event).expect("an event");
    assert_eq!(compiled.matches(&event), expected, "{pattern} over {event}");
}

#[test]
fn leaves_compare_as_documented() {
    for (condition, value, expected) in [
        (r#""a""#, r#""a""#, true),
        (r#""a""#, r#""A""#, false),
        ("1", "1.0", true),
        ("null", "null", true),
        ("true", "false", false),
        (r#"{"prefix":"us-"}"#, r#""us-1""#, true),
        (r#"{"prefix":"us-"}"#, r#""eu-1""#, false),
        (r#"{"prefix":{"equals-ignore-case":"US"}}"#, r#""us-1""#, true),
        (r#"{"suffix":".png"}"#, r#""a.png""#, true),
        (r#"{"suffix":".png"}"#, "3", false),
        (r#"{"equals-ignore-case":"Alice"}"#, r#""aLICE""#, true),
        (r#"{"wildcard":"a*b*c"}"#, r#""axxbyyc""#, true),
        (r#"{"wildcard":"a*b*c"}"#, r#""axxcyyb""#, false),
        (r#"{"wildcard":"*"}"#, r#""""#, true),
        (r#"{"wildcard":"a\\*b"}"#, r#""a*b""#, true),
        (r#"{"anything-but":"x"}"#, r#""y""#, true),
        (r#"{"anything-but":["x","y"]}"#, r#""y""#, false),
        (r#"{"anything-but":[1,2]}"#, "3", true),
        (r#"{"anything-but":{"prefix":"a"}}"#, r#""ab""#, false),
        (r#"{"anything-but":{"suffix":["a","b"]}}"#, r#""xc""#, true),
        (r#"{"numeric":[">",0,"<=",5]}"#, "5", true),
        (r#"{"numeric":[">",0,"<=",5]}"#, "5.1", false),
        (r#"{"numeric":["=",5]}"#, r#""5""#, false),
        (r#"{"cidr":"10.0.0.0/24"}"#, r#""10.0.0.255""#, true),
        (r#"{"cidr":"10.0.0.0/24"}"#, r#""10.0.1.0""#, false),
        (r#"{"cidr":"2001:db8::/32"}"#, r#""2001:db8:1::1""#, true),
        (r#"{"exists":true}"#, r#""x""#, true),
        (r#"{"exists":true}"#, r#"{"y":1}"#, false),
    ] {
        check(&format!(r#"{{"f":[{condition}]}}"#), &format!(r#"{{"f":{value}}}"#), expected);
    }
}

#[test]
fn absent_fields_match_only_their_absence() {
    check(r#"{"f":[{"exists":false}]}"#, "{}", true);
    check(r#"{"f":[{"exists":false}]}"#, r#"{"f":null}"#, false);
    check(r#"{"f":[{"anything-but":"x"}]}"#, "{}", false);
    check(r#"{"a":{"b":[{"exists":false}]}}"#, r#"{"c":1}"#, true);
    check(r#"{"a":{"b":["x"]}}"#, r#"{"a":"x"}"#, false);
}

#[test]
fn arrays_match_by_an_element() {
    check(r#"{"f":["b"]}"#, r#"{"f":["a","b"]}"#, true);
    check(r#"{"f":["c"]}"#, r#"{"f":["a","b"]}"#, false);
    check(r#"{"f":{"g":[1]}}"#, r#"{"f":[{"g":2},{"g":1}]}"#, true);
    check(r#"{"f":[{"anything-but":"a"}]}"#, r#"{"f":["a","b"]}"#, false);
}

#[test]
fn alternatives_and_conjunctions() {
    let pattern = r#"{"eventName":["INSERT","MODIFY"],"$or":[{"a":[1]},{"b":{"c":[2]}}]}"#;
    check(pattern, r#"{"eventName":"INSERT","a":1}"#, true);
    check(pattern, r#"{"eventName":"MODIFY","b":{"c":2}}"#, true);
    check(pattern, r#"{"eventName":"REMOVE","a":1}"#, false);
    check(pattern, r#"{"eventName":"INSERT","a":2,"b":{"c":1}}"#, false);
}

#[test]
fn what_is_no_pattern_is_refused() {
    let deep = format!("{}[1]{}", r#"{"a":"#.repeat(20), "}".repeat(20));
    for text in [
        "single-string",
        r#"[{"eventName":["INSERT"=123}]"#,
        "[]",
        "{}",
        r#"{"a":1}"#,
        r#"{"a":[]}"#,
        r#"{"a":[[1]]}"#,
        r#"{"a":[{"prefix":1}]}"#,
        r#"{"a":[{"nothing":1}]}"#,
        r#"{"a":[{"numeric":["<",5,">",1]}]}"#,
        r#"{"a":[{"numeric":["=="]}]}"#,
        r#"{"a":[{"cidr":"10.0.0.0/33"}]}"#,
        r#"{"a":[{"wildcard":"a**"}]}"#,
        r#"{"a":[{"prefix":"a","suffix":"b"}]}"#,
        r#"{"$or":[{"a":[1]}]}"#,
        &deep,
        &format!(r#"{{"a":["{}"]}}"#, "x".repeat(5000)),
    ] {
        assert!(Pattern::parse(text).is_err(), "{text}");
    }
}
