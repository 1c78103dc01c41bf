//! A room made in a copy of this repository compiles and passes its own tests.

use super::*;
use std::process::Command;

/// Everything that a new room's crate needs to build, and what the command edits.
const COPIED: &[&str] = &["Cargo.toml", "Cargo.lock", "core", "engines", "app", "rustfmt.toml"];

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if from.exists() {
        fs::copy(from, to).unwrap();
    }
}

/// A copy whose workspace is only as large as the new room needs.
fn small_copy(root: &Path) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    for name in COPIED {
        copy(&root.join(name), &copied.path().join(name));
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (head, rest) = manifest.split_once("members = [").unwrap();
    let rest = rest.split_once("\n]").unwrap().1.replacen("default-members = [\"app\"]", "", 1);
    let members = "\n  \"core/types\", \"core/store\", \"core/protocol\", \"core/service\", \"core/policy\",\n  \"engines/files\", \"engines/memory\",\n  \"testkit\",";
    fs::write(copied.path().join("Cargo.toml"), format!("{head}members = [{members}\n]{rest}")).unwrap();
    fs::create_dir_all(copied.path().join("models/sqs")).unwrap();
    fs::copy(root.join("models/sts/model.json.gz"), copied.path().join("models/sqs/model.json.gz")).unwrap();
    copied
}

/// The target folder that this test was built in: what the room depends on is then built once, not at each run.
fn target() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(3).unwrap().to_path_buf()
}

fn args(operations: &[&str]) -> Args {
    Args {
        name: "sqs".into(),
        type_name: Some("Queues".into()),
        botocore: None,
        operations: operations.iter().map(|o| (*o).to_owned()).collect(),
    }
}

#[test]
fn a_new_room_compiles_and_refuses_by_name() {
    let root = crate::root().unwrap();
    let copied = small_copy(&root);
    run(copied.path(), &args(&["GetCallerIdentity", "AssumeRole"])).unwrap();
    let rooms = fs::read_to_string(copied.path().join("app/src/rooms.rs")).unwrap();
    assert!(
        rooms.contains("use squall_sqs::Queues;") && rooms.contains("rooms.push(Queues::open(deps.clone()).await?);")
    );
    // The copy builds only the room: the program and the package that anchors the edit stay out.
    let manifest = fs::read_to_string(copied.path().join("Cargo.toml")).unwrap();
    fs::write(copied.path().join("Cargo.toml"), manifest.replace("  \"testkit\",", "")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--offline", "-p", "squall-sqs"])
        .current_dir(copied.path())
        .env("CARGO_TARGET_DIR", target().join("new-room"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_misspelt_operation_leaves_nothing_behind() {
    let root = crate::root().unwrap();
    let copied = small_copy(&root);
    let error = run(copied.path(), &args(&["GetCallerIdentityy"])).unwrap_err();
    assert!(format!("{error:#}").contains("GetCallerIdentityy"), "{error:#}");
    assert!(!copied.path().join("services/sqs").exists() && !copied.path().join("models/sqs/ops.toml").exists());
}

#[test]
fn a_room_needs_a_number_and_a_plain_name() {
    let root = crate::root().unwrap();
    let number = |name: &str| room_number(&root, name).map_err(|e| e.to_string());
    assert_eq!(number("sqs"), Ok("0x08".into()));
    assert_eq!(number("sts"), Ok("0x01".into()));
    assert!(number("nosuchservice").unwrap_err().contains("give nosuchservice a number"));
    let bad = Args { name: "Sqs-2".into(), ..args(&["X"]) };
    assert!(run(&root, &bad).unwrap_err().to_string().contains("small letters"));
}
