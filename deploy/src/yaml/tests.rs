//! What the file says and where it says it.

use super::*;

fn json(text: &str) -> String {
    parse("s.yml", text).map_or_else(|e| format!("! {e}"), |n| n.to_json().to_string())
}

#[test]
fn scalars_follow_the_core_schema() {
    let cases = [
        ("a: 1", r#"{"a":1}"#),
        ("a: 1.5", r#"{"a":1.5}"#),
        ("a: 0x1F", r#"{"a":31}"#),
        ("a: yes", r#"{"a":"yes"}"#),
        ("a: true", r#"{"a":true}"#),
        ("a:", r#"{"a":null}"#),
        ("a: ~", r#"{"a":null}"#),
        ("a: '1'", r#"{"a":"1"}"#),
        ("a: !!str 1", r#"{"a":"1"}"#),
        ("Version: 2012-10-17", r#"{"Version":"2012-10-17"}"#),
        ("a: 1e3", r#"{"a":1000.0}"#),
        ("a: 1-2", r#"{"a":"1-2"}"#),
        ("a: nodejs20.x", r#"{"a":"nodejs20.x"}"#),
        ("a: |\n  x\n  y\n", "{\"a\":\"x\\ny\\n\"}"),
        ("- 1\n- [a, {b: c}]", r#"[1,["a",{"b":"c"}]]"#),
        (r#"{"a": "b"}"#, r#"{"a":"b"}"#),
        ("", "null"),
    ];
    for (text, expected) in cases {
        assert_eq!(json(text), expected, "{text:?}");
    }
}

#[test]
fn anchors_merge_keys_and_tags_are_resolved() {
    let cases = [
        ("a: &x {m: 1, n: 2}\nb:\n  <<: *x\n  n: 3", r#"{"a":{"m":1,"n":2},"b":{"n":3,"m":1}}"#),
        ("a: !Ref T", r#"{"a":{"Ref":"T"}}"#),
        ("a: !GetAtt T.Arn", r#"{"a":{"Fn::GetAtt":["T","Arn"]}}"#),
        ("a: !Sub 'x-${T}'", r#"{"a":{"Fn::Sub":"x-${T}"}}"#),
        ("a: !Join [':', [a, !Ref T]]", r#"{"a":{"Fn::Join":[":",["a",{"Ref":"T"}]]}}"#),
    ];
    for (text, expected) in cases {
        assert_eq!(json(text), expected, "{text:?}");
    }
}

#[test]
fn faults_name_the_line() {
    let cases = [
        ("a: 1\nb: 2\na: 3", "! s.yml:3: key `a` is there twice (first in line 1)"),
        ("a: 1\n---\nb: 2", "! s.yml:2: a second document in one file is not supported"),
        ("a: 1\nb: !Nope x", "! s.yml:2: the YAML tag `!Nope` is not supported"),
        ("a:\n  - b\n ? [x]\n", "! s.yml:3: "),
        ("a: [1", "! s.yml:"),
        ("a: &x [*x]", "! s.yml:1: an alias to something that is not complete"),
    ];
    for (text, expected) in cases {
        assert!(json(text).starts_with(expected), "{text:?}: {}", json(text));
    }
}

#[test]
fn every_key_and_value_knows_its_line() {
    let doc = parse("s.yml", "service: x\n\nfunctions:\n  hello:\n    handler: h.m\n").expect("valid");
    let Value::Map(top) = &doc.value else { panic!("a mapping") };
    assert_eq!(top.iter().map(|e| e.at.line).collect::<Vec<_>>(), [1, 3]);
    let hello = doc.get("functions").and_then(|f| f.get("hello")).expect("there");
    assert_eq!(hello.get("handler").map(|h| h.at.to_string()), Some("s.yml:5".into()));
}

#[test]
fn alias_bombs_and_deep_nesting_are_refused() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..9 {
        let refs = vec![format!("*a{}", i - 1); 10].join(",");
        bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    assert!(json(&bomb).contains("more than 100,000 values"));
    assert!(json(&"[".repeat(5000)).starts_with("! "));
}
