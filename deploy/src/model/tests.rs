//! Whole files expanded, against golden files.
//!
//! `SQUALL_UPDATE_GOLDEN=1 cargo test -p squall-deploy` writes them anew; read the difference in review.

use std::fs;
use std::path::Path;

use super::*;
use crate::error::Error;

fn settings(stage: &str) -> Settings {
    Settings {
        stage: Some(stage.into()),
        account: "000000000000".into(),
        default_region: "us-east-1".into(),
        ..Settings::default()
    }
}

/// A folder with the file and with every handler that tests name.
fn folder(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join("src")).expect("a folder");
    for name in ["src/items.js", "h.js"] {
        fs::write(dir.path().join(name), "exports.m = 1").expect("written");
    }
    fs::write(dir.path().join("serverless.yml"), text).expect("written");
    dir
}

#[test]
fn a_file_becomes_the_resources_that_the_framework_names() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = fs::read_to_string(golden.join("full.yml")).expect("there");
    for stage in ["dev", "prod"] {
        let dir = folder(&text);
        let project = load(dir.path(), &settings(stage)).unwrap_or_else(|e| panic!("{stage}: {e}"));
        let found = serde_json::to_string_pretty(&project.stack).expect("JSON") + "\n";
        let path = golden.join(format!("full.{stage}.json"));
        if std::env::var_os("SQUALL_UPDATE_GOLDEN").is_some() {
            fs::write(&path, &found).expect("written");
        }
        let expected = fs::read_to_string(&path).expect("there");
        assert!(found == expected, "{} differs:\n{found}", path.display());
    }
}

fn fault(text: &str) -> String {
    let whole = format!("service: app\nprovider: {{name: aws}}\n{text}");
    load(folder(&whole).path(), &settings("dev")).map_or_else(|e| e.to_string(), |p| format!("{:?}", p.stack.name))
}

#[test]
fn what_cannot_be_expanded_names_its_place() {
    let long = "x".repeat(60);
    let cases = [
        (
            "functions: {a: {handler: h.m, events: [http: GET x]}, b: {handler: h.m, events: [http: get /x]}}"
                .to_owned(),
            "serverless.yml:3: `GET x` is already a route of `a`".to_owned(),
        ),
        (
            "functions: {a: {handler: h.m, events: [httpApi: '*', httpApi: '* *']}}".to_owned(),
            "serverless.yml:3: ".to_owned(),
        ),
        (
            "functions:\n  a:\n    handler: h.m\n    events:\n      - http: GET u/{id}\n      - http: GET u/{name}/x"
                .to_owned(),
            "serverless.yml:8: `u/{name}/x` and `u/{id}` name the same place `{name}` and `{id}`".to_owned(),
        ),
        (
            format!("functions:\n  {long}: {{handler: h.m}}"),
            format!("serverless.yml:4: the function's name `app-dev-{long}` is longer than 64; give it a `name`"),
        ),
        (
            "functions: {a: {handler: h.m, name: x}, b: {handler: h.m, name: x}}".to_owned(),
            "serverless.yml:3: two functions have the name `x`".to_owned(),
        ),
        (
            "functions: {a: {handler: h.m, environment: {T: !Ref Nope}}}".to_owned(),
            "serverless.yml:3: `Nope` is no resource of this stack".to_owned(),
        ),
        (
            "functions: {a: {handler: gone.m}}".to_owned(),
            "serverless.yml:3: `functions.a.handler: gone.m`: there is no gone.js".to_owned(),
        ),
        ("functions: {}".to_owned(), "\"app-dev\"".to_owned()),
    ];
    for (text, expected) in cases {
        let found = fault(&text);
        assert!(found.starts_with(&expected), "{text}: {found}");
    }
}

#[test]
fn files_that_are_no_serverless_yml_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let found = |dir: &Path| load(dir, &settings("dev")).expect_err("refused");
    assert!(
        matches!(found(dir.path()), Error::Refused(text) if text.starts_with("there is no serverless.yml and no template.yaml in"))
    );
    assert!(matches!(found(&dir.path().join("gone")), Error::Io { .. }));
    fs::write(dir.path().join("serverless.ts"), "export default {}").expect("written");
    assert!(found(dir.path()).to_string().ends_with("a deploy runs no code; write serverless.yml"));
}

#[test]
fn dotenv_fills_the_environment_only_where_asked() {
    let text = "service: app\nuseDotenv: true\nprovider: {name: aws, stackName: '${env:NAME}-${env:KEPT}'}\n";
    let dir = folder(text);
    fs::write(dir.path().join(".env"), "# names\nexport NAME=\"from-file\"\nKEPT=file # note\n").expect("written");
    fs::write(dir.path().join(".env.dev"), "NAME=stage\n").expect("written");
    let mut settings = settings("dev");
    settings.env.insert("KEPT".into(), "env".into());
    let project = load(dir.path(), &settings).expect("valid");
    assert_eq!(project.stack.name, "stage-env");
}
