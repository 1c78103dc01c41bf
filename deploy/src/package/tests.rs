//! Packages of small folders.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config;
use crate::yaml;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, text).expect("write");
    }
    dir
}

fn check(files: &[(&str, &str)], extra: &str, expected: &str) {
    let dir = folder(files);
    let text = format!(
        "service: s\nprovider: {{name: aws, runtime: nodejs20.x}}\nfunctions: {{f: {{handler: h.m}}}}\n{extra}"
    );
    let service = yaml::parse("serverless.yml", &text).and_then(|n| config::read(&n)).expect("valid");
    let found = build(dir.path(), &service);
    let found = found.map_or_else(|e| format!("! {e}"), |codes| codes[0].files.join(" "));
    assert_eq!(found, expected, "{extra}");
}

#[test]
fn defaults_and_patterns_decide_in_order() {
    let files = &[
        ("h.js", "1"),
        ("serverless.yml", "x"),
        (".env", "SECRET"),
        (".git/config", "x"),
        (".serverless/x.zip", "x"),
        ("node_modules/a/index.js", "1"),
        ("node_modules/dev/index.js", "1"),
        ("node_modules/.bin/a", "1"),
        ("node_modules/.package-lock.json", r#"{"packages":{"node_modules/dev":{"dev":true},"node_modules/a":{}}}"#),
        ("test/t.js", "1"),
        ("test/keep.json", "1"),
    ];
    let cases = [
        ("", "h.js node_modules/a/index.js test/keep.json test/t.js"),
        ("package: {patterns: ['!test/**', 'test/keep.json', '!node_modules/**']}", "h.js test/keep.json"),
        ("package: {patterns: ['!**', h.js, .env]}", ".env h.js"),
        ("package: {exclude: ['**'], include: ['h.js']}", "h.js"),
        (
            "package: {excludeDevDependencies: false, patterns: ['!test/**']}",
            "h.js node_modules/a/index.js node_modules/dev/index.js",
        ),
        (
            "package: {patterns: ['!h.js']}",
            "! serverless.yml:3: `functions.f.handler: h.m`: there is no h.js in the package",
        ),
        ("package: {patterns: ['!**']}", "! package of `s`: no files are left to package; check `package.patterns`"),
    ];
    for (extra, expected) in cases {
        check(files, extra, expected);
    }
}

#[test]
fn a_handler_that_is_not_there_is_refused_before_anything_happens() {
    let expected =
        "! serverless.yml:3: `functions.f.handler: h.m`: h.ts has to be compiled to JavaScript before the deploy";
    check(&[("h.ts", "1")], "", expected);
    check(&[("h.mjs", "1")], "", "h.mjs");
}

#[test]
fn equal_folders_give_equal_packages() {
    let files = &[("b.js", "b"), ("a/x.js", "x"), ("run", "#!/bin/sh")];
    let make = || {
        let dir = folder(files);
        let path = dir.path().join("run");
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("chmod");
        let all = select::walk(dir.path(), "s").expect("walk");
        zip("s", &all).expect("zip")
    };
    let (one, two) = (make(), make());
    assert_eq!(one, two);
    assert_eq!(one.files, ["a/x.js", "b.js", "run"]);
    let mut archive = ZipArchive::new(Cursor::new(&one.bytes)).expect("a zip");
    let modes: Vec<_> = (0..3).map(|i| archive.by_index(i).expect("there").unix_mode().map(|m| m & 0o777)).collect();
    assert_eq!(modes, [Some(0o644), Some(0o644), Some(0o755)]);
}

#[test]
fn limits_are_lambdas() {
    let dir = folder(&[("a", "1")]);
    let file = fs::File::create(dir.path().join("big")).expect("create");
    file.set_len(UNZIPPED_BYTES_MAX + 1).expect("sparse");
    let all = select::walk(dir.path(), "s").expect("walk");
    let fault = zip("s", &all).expect_err("too large").to_string();
    assert_eq!(fault, "package of `s`: 251 MiB unzipped, the limit is 250 MiB; the largest file is big");
    let fault = code("s", vec![0; 50 * 1024 * 1024 + 1], Vec::new()).expect_err("too large").to_string();
    assert!(fault.starts_with("package of `s`: 51 MiB zipped, the limit is 50 MiB"), "{fault}");
}

#[test]
fn circles_of_links_end() {
    let dir = folder(&[("a/x.js", "1")]);
    std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).expect("link");
    std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).expect("link");
    let all = select::walk(dir.path(), "s").expect("walk");
    assert_eq!(all.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["a/x.js"]);
}
