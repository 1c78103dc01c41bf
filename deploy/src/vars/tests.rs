//! Variables as cases.

use std::fs;

use super::*;
use crate::yaml::parse;

/// Resolves the file and answers the value of `out`.
fn check(text: &str, expected: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("x.yml"), "key: from-file\ndeep: {a: [1, 2]}\nback: ${self:custom.a}\n").expect("write");
    fs::write(dir.path().join("j.json"), r#"{"k": {"n": 7}}"#).expect("write");
    fs::write(dir.path().join("t.txt"), "plain text").expect("write");
    fs::write(dir.path().join("p.js"), "module.exports = 1").expect("write");
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let scope = Scope {
        dir: dir.path().to_owned(),
        env: map(&[("HOST", "h1"), ("EMPTY", "")]),
        options: map(&[("stage", "prod")]),
        params: map(&[("given", "cli")]),
        account: "000000000000".into(),
        region: "us-east-1".into(),
        instance: "i1".into(),
    };
    let found = parse("s.yml", text).and_then(|root| lookup(&root, &scope, "out"));
    let shown = found.map_or_else(|e| format!("! {e}"), |n| n.map_or("none".into(), |n| n.to_json().to_string()));
    assert_eq!(shown, expected, "{text}");
}

#[test]
fn each_source_gives_its_value() {
    let cases = [
        ("out: ${self:custom.a}\ncustom: {a: {b: [1, true]}}", r#"{"b":[1,true]}"#),
        ("out: ${self:custom.l.1.x}\ncustom: {l: [0, {x: 5}]}", "5"),
        ("out: x-${env:HOST}-${opt:stage}", r#""x-h1-prod""#),
        ("out: ${env:EMPTY}", r#""""#),
        ("out: ${sls:stage}", r#""prod""#),
        ("out: ${sls:instanceId}", r#""i1""#),
        ("out: ${aws:accountId}/${aws:region}", r#""000000000000/us-east-1""#),
        ("out: ${aws:region}\nprovider: {region: eu-west-1}", r#""eu-west-1""#),
        ("out: ${file(./x.yml):key}", r#""from-file""#),
        ("out: ${file(x.yml):deep.a.1}", "2"),
        ("out: ${file(./j.json):k}", r#"{"n":7}"#),
        ("out: ${file(./t.txt)}", r#""plain text""#),
        ("out: ${file(./x.yml):back}\ncustom: {a: 9}", "9"),
        ("out: ${param:given}", r#""cli""#),
        ("out: ${param:p}\nparams: {default: {p: d}, prod: {p: x}}", r#""x""#),
        ("out: ${param:p}\nstages: {default: {params: {p: d}}}", r#""d""#),
        ("out: ${strToBool(${env:NOPE, 'true'})}", "true"),
    ];
    for (text, expected) in cases {
        check(text, expected);
    }
}

#[test]
fn fallbacks_nest_and_keep_their_type() {
    let cases = [
        ("out: ${opt:nope, 'dev'}", r#""dev""#),
        ("out: ${opt:nope, env:NOPE, self:custom.x, 3}", "3"),
        ("out: ${self:custom.x, true}", "true"),
        ("out: ${self:custom.x, null}", "null"),
        ("out: ${self:custom.x, ''}", r#""""#),
        ("out: ${self:custom.x, 'a, b}'}", r#""a, b}""#),
        ("out: ${opt:nope, ${env:HOST}}", r#""h1""#),
        ("out: ${opt:nope, ${opt:no, self:custom.y}}\ncustom: {y: [1]}", "[1]"),
        ("out: ${self:custom.${opt:stage}.size}\ncustom: {prod: {size: 2}, dev: {size: 1}}", "2"),
        ("out: ${file(./${opt:stage}.yml):a, 'none'}", r#""none""#),
        ("out: ${self:custom.a.b}\ncustom: {a: '${self:custom.c}', c: {b: 4}}", "4"),
        ("out: {'${opt:stage}-k': 1}", r#"{"prod-k":1}"#),
    ];
    for (text, expected) in cases {
        check(text, expected);
    }
}

#[test]
fn cloudformations_own_variables_stay() {
    let cases = [
        ("out: arn:${AWS::Partition}:x:${AWS::Region}", r#""arn:${AWS::Partition}:x:${AWS::Region}""#),
        ("out: ${Table}-${Table.Arn}-${opt:stage}", r#""${Table}-${Table.Arn}-prod""#),
        ("out: $plain {x}", r#""$plain {x}""#),
    ];
    for (text, expected) in cases {
        check(text, expected);
    }
}

#[test]
fn faults_name_the_place_and_the_variable() {
    let cases = [
        (
            "a: 1\nout: ${env:NOPE}",
            "! s.yml:2: `${env:NOPE}` has no value, and no fallback such as `${…, 'value'}` is given",
        ),
        ("out: ${self:a}\na: ${self:b}\nb: ${self:a}", "! s.yml:3: variables go in a circle: self:a → self:b → self:a"),
        ("out: ${slef:a}", "! s.yml:1: unknown variable source `slef`; did you mean `self`?"),
        ("out: ${opt:nope, dev}", "! s.yml:1: `dev` is no source of a variable; text needs quotes: 'dev'"),
        ("out: ${file(./p.js):x}", "! s.yml:1: `file(./p.js)`: a deploy runs no code; use a YAML or JSON file"),
        ("out: ${env:HOST", "! s.yml:1: `${env:HOST` has no closing brace"),
        ("out: x${self:m}\nm: {a: 1}", "! s.yml:1: `${self:m}` is a mapping and cannot stand within text"),
        (
            "out: ${ssm:/a/b}",
            "! s.yml:1: the variable source `ssm` is not supported; supported: self, env, opt, param, file, sls, aws, strToBool",
        ),
    ];
    for (text, expected) in cases {
        check(text, expected);
    }
}

#[test]
fn expansion_bombs_are_refused() {
    let mut text = "out: ${self:a20}\na0: [x, x]\n".to_owned();
    for i in 1..=20 {
        text.push_str(&format!("a{i}: ['${{self:a{p}}}', '${{self:a{p}}}', '${{self:a{p}}}']\n", p = i - 1));
    }
    let root = parse("s.yml", &text).expect("valid");
    let fault = lookup(&root, &Scope::default(), "out").expect_err("a bomb");
    assert!(fault.to_string().contains("too many variables") || fault.to_string().contains("200,000"), "{fault}");
}
