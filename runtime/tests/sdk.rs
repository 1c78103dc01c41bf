//! The SDKs: from a folder that the operator names, and (with `SQUALL_TEST_SDK_DIR`, which needs the package registries once)
//! from pip and npm.

mod common;

use common::World;
use squall_runtime::{ProcessLauncher, SdkState};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn a_given_folder_is_found_by_every_function() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let python = dir.path().join("python3.11/boto9");
    let node = dir.path().join("nodejs/node_modules/@aws-sdk/client-x");
    for folder in [&python, &node] {
        std::fs::create_dir_all(folder).expect("make the folder");
    }
    std::fs::write(python.join("__init__.py"), "x = 1").expect("write");
    std::fs::write(node.join("index.js"), "exports.x = 1").expect("write");
    let given = dir.path().to_owned();
    let world = World::with(Arc::new(ProcessLauncher), |o| o.sdk_dir = Some(given));
    if world.has("python3.11").await {
        let state = world.runtime.prepare("python3.11", 128).await.expect("found");
        assert!(matches!(&state, SdkState::Ready(folder) if folder.ends_with("python3.11")), "{state:?}");
        let code = "import boto9\ndef handler(e, c): return boto9.x";
        assert_eq!(world.once("python3.11", "app.handler", &[("app.py", code)], "{}").await.text(), "1");
    }
    if world.has("nodejs20.x").await {
        let state = world.runtime.prepare("nodejs20.x", 128).await.expect("found");
        assert!(matches!(state, SdkState::Ready(_)), "{state:?}");
        let cases = [
            ("app.js", "const { x } = require('@aws-sdk/client-x'); exports.handler = async () => x"),
            ("app.mjs", "import { x } from '@aws-sdk/client-x'; export const handler = async () => x"),
        ];
        for (file, code) in cases {
            assert_eq!(world.once("nodejs20.x", "app.handler", &[(file, code)], "{}").await.text(), "1", "{file}");
        }
    }
    assert_eq!(world.runtime.prepare("provided.al2", 128).await, Ok(SdkState::NotNeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_told_and_functions_run_without() {
    let world = World::new();
    if !world.has("python3.11").await {
        return;
    }
    let state = world.runtime.prepare("python3.11", 128).await.expect("found");
    assert!(matches!(&state, SdkState::Failed(text) if text.contains("sdk_install")), "{state:?}");
    let answer = world.once("python3.11", "app.handler", &[("app.py", "def handler(e, c): return 1")], "{}").await;
    assert_eq!(answer.text(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn pip_and_npm_install_the_real_ones() {
    let Some(dir) = std::env::var_os("SQUALL_TEST_SDK_DIR") else {
        return eprintln!("skipped: SQUALL_TEST_SDK_DIR names no folder to install SDKs into");
    };
    let world = World::with(Arc::new(ProcessLauncher), |o| {
        o.data_dir = dir.into();
        o.sdk_install = true;
    });
    for runtime in ["python3.11", "nodejs20.x"] {
        if world.has(runtime).await {
            let began = std::time::Instant::now();
            let state = world.runtime.prepare(runtime, 128).await.expect("found");
            eprintln!("{runtime}: {state:?} after {:?}", began.elapsed());
            assert!(matches!(state, SdkState::Ready(_)));
        }
    }
    let python = "import boto3\nc = boto3.client('s3')\ndef handler(e, c_): return c.meta.endpoint_url[:17]";
    if world.has("python3.11").await {
        let answer = world.once("python3.11", "app.handler", &[("app.py", python)], "{}").await;
        assert_eq!(answer.text(), "\"http://127.0.0.1:\"", "{}", answer.tail());
    }
    if let (Ok(python), Ok(SdkState::Ready(sdk))) =
        (world.runtime.find("python3.11").await, world.runtime.prepare("python3.11", 128).await)
    {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = std::process::Command::new(&python.exe);
        command.args(["-s", "-S"]).arg(here.join("tests/warm_sdk.py")).arg(here.join("client/python")).arg(sdk);
        let told = command.output().expect("run Python");
        assert_eq!(String::from_utf8_lossy(&told.stdout), "ok\n", "{}", String::from_utf8_lossy(&told.stderr));
    }
    let node = "const { DynamoDBClient } = require('@aws-sdk/client-dynamodb'); const { DynamoDBDocumentClient } = require('@aws-sdk/lib-dynamodb');\nconst c = DynamoDBDocumentClient.from(new DynamoDBClient({}));\nexports.handler = async () => c.config.region()";
    let esm = "import { S3Client } from '@aws-sdk/client-s3'; const c = new S3Client({}); export const handler = async () => c.config.region()";
    if world.has("nodejs20.x").await {
        for (file, code) in [("app.js", node), ("app.mjs", esm)] {
            let answer = world.once("nodejs20.x", "app.handler", &[(file, code)], "{}").await;
            assert_eq!(answer.text(), "\"us-east-1\"", "{}", answer.tail());
            eprintln!("{}", answer.tail());
        }
    }
}
