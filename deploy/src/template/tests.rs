//! Templates as cases.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::model::{Project, Settings, load};

fn project(text: &str, params: &[(&str, &str)]) -> Result<Project, Error> {
    let dir = tempfile::tempdir().expect("a folder");
    let app = dir.path().join("sam_app");
    fs::create_dir_all(app.join("src")).expect("folders");
    fs::write(app.join("src/app.py"), "def f(e, c): pass").expect("written");
    fs::write(app.join("template.yaml"), text).expect("written");
    let settings = Settings {
        account: "000000000000".into(),
        default_region: "us-east-1".into(),
        params: params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        ..Settings::default()
    };
    load(&app, &settings)
}

#[test]
fn a_template_becomes_the_resources_that_sam_makes() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = fs::read_to_string(golden.join("sam.yaml")).expect("there");
    let project = project(&text, &[("Level", "debug")]).expect("valid");
    assert_eq!(project.code[0].files, ["app.py"]);
    let found = serde_json::to_string_pretty(&project.stack).expect("JSON") + "\n";
    let path = golden.join("sam.json");
    if std::env::var_os("SQUALL_UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).expect("written");
    }
    assert!(found == fs::read_to_string(&path).expect("there"), "sam.json differs:\n{found}");
}

#[test]
fn what_is_not_served_names_its_line() {
    let function = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: app.f\n      Runtime: python3.11\n      CodeUri: src\n";
    let cases = [
        (
            "Resources:\n  Q:\n    Type: AWS::SQS::Queue".to_owned(),
            "template.yaml:3: the resource type `AWS::SQS::Queue` of `Q` is not supported yet",
        ),
        (
            format!("{function}      Layers: [x]"),
            "template.yaml:8: `Resources.F.Properties.Layers: x` must be the ARN of a layer's version, or `!Ref` a layer of this file",
        ),
        (
            format!("{function}      Memory: 1"),
            "template.yaml:8: unknown key `Resources.F.Properties.Memory`; did you mean `MemorySize`?",
        ),
        (
            format!(
                "{function}      Events:\n        S:\n          Type: Schedule\n          Properties: {{Schedule: rate(1 minute)}}"
            ),
            "template.yaml:10: the event type `Schedule` of `Resources.F.Properties.Events.S` is not supported yet; supported: Api, HttpApi, DynamoDB",
        ),
        (
            format!("{function}      Policies: [DynamoDBCrudPolcy: {{TableName: x}}]"),
            "template.yaml:8: `Resources.F.Properties.Policies`: the policy template `DynamoDBCrudPolcy` is not supported; did you mean `DynamoDBCrudPolicy`?",
        ),
        (
            format!("Parameters: {{P: {{Type: String}}}}\n{function}"),
            "template.yaml:1: `Parameters.P` has no default; give it with --param P=VALUE",
        ),
        (
            "Conditions: {}\nResources: {}".to_owned(),
            "template.yaml:1: `Conditions` is not supported: conditions are not served yet",
        ),
        (
            "Transform: AWS::Other\nResources: {}".to_owned(),
            "template.yaml:1: `Transform: AWS::Other` is not supported",
        ),
    ];
    for (text, expected) in cases {
        let found = project(&text, &[]).map_or_else(|e| e.to_string(), |p| format!("{p:?}"));
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}
