//! WebAssembly functions and what is kept for them: compiled modules, and the program that runs them.

use crate::leftovers;
use crate::load::{Customer, zip};
use serde_json::json;
use squall_testkit::{Server, until};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::Command;

const ECHO: &str = include_str!("../../clients/wasm/echo.wat");
const DEEDS: &str = include_str!("../../clients/wasm/deeds.wat");

fn make(customer: &Customer, name: &str, module: &str) {
    let role = customer.make_role(&format!("role-{name}"));
    assert_eq!(customer.make_function(name, &role, "wasm", &zip("bootstrap.wat", module)), Some(201));
    customer.wait_active(name);
}

#[track_caller]
fn echoes(server: &Server) {
    let answer = Customer::of(server).invoke("echo", "RequestResponse", &json!({ "n": 1 }));
    assert_eq!(answer, Some((200, r#"{"n":1}"#.into())));
}

/// The compiled modules in the server's cache.
fn compiled(server: &Server) -> Vec<PathBuf> {
    let folder = fs::read_dir(server.data().join("cache/wasm")).expect("the folder of compiled modules");
    folder.flatten().map(|entry| entry.path()).collect()
}

/// The process that runs calls.
fn program(server: &Server) -> Option<String> {
    let all = leftovers::processes(server);
    let line = all.iter().find(|line| line.contains("__wasm run"))?;
    line.split(' ').next().map(str::to_owned)
}

#[test]
fn compiled_modules_outlive_a_restart_and_are_made_anew() {
    let Some(mut server) = Server::start_durable() else { return };
    make(&Customer::of(&server), "echo", ECHO);
    echoes(&server);
    let files = compiled(&server);
    let [file] = files.as_slice() else { panic!("one module was compiled: {files:?}") };
    let (made, whole) = (fs::metadata(file).expect("the file").ino(), fs::read(file).expect("the file"));
    assert_eq!(server.stop(), Some(0));
    server.restart();
    echoes(&server);
    assert_eq!(fs::metadata(file).expect("the file").ino(), made, "it was not compiled again");
    // Damaged, cut, empty, or another's: none of it is executed.
    let mut flipped = whole.clone();
    *flipped.last_mut().expect("it is not empty") ^= 1;
    let cut = whole[..whole.len() / 2].to_vec();
    let other = [[0; 33].as_slice(), b"\x7fELF"].concat();
    for damaged in [flipped, cut, Vec::new(), other] {
        server.kill9();
        fs::write(file, &damaged).expect("damage the file");
        server.restart();
        echoes(&server);
        assert_ne!(fs::read(file).expect("the file"), damaged);
    }
    // A cache may be emptied, too.
    server.kill9();
    fs::remove_file(file).expect("delete the file");
    server.restart();
    echoes(&server);
    assert!(file.is_file());
    // Nothing is loaded from where others may write.
    assert_eq!(server.stop(), Some(0));
    let folder = server.data().join("cache/wasm");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("open the folder");
    server.restart();
    let answer = Customer::of(&server).invoke("echo", "RequestResponse", &json!(1));
    assert_eq!(answer.map(|(status, _)| status), Some(500));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("close the folder");
    echoes(&server);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(leftovers::processes(&server), Vec::<String>::new());
    assert_eq!(leftovers::mounts(&server), Vec::<String>::new());
}

#[test]
fn the_program_that_runs_modules_is_started_again() {
    let server = Server::start();
    let customer = Customer::of(&server);
    make(&customer, "echo", ECHO);
    make(&customer, "deeds", DEEDS);
    echoes(&server);
    for round in 0..3 {
        let caller = customer.clone();
        // One spins, or waits, while its program ends.
        let event = if round == 0 { "w" } else { "l" };
        let call = std::thread::spawn(move || caller.invoke("deeds", "RequestResponse", &json!(event)));
        let pid = until("the program runs", || program(&server));
        assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
        let (status, answer) = call.join().expect("a caller").expect("an answer");
        assert_eq!(status, 200);
        // Where it ended before the call came to it, another has run it.
        assert!(
            answer.contains("Runtime.ExitError") || answer.contains("done") || answer.contains("Timedout"),
            "{answer}"
        );
        until("it is another", || {
            program(&server).filter(|other| *other != pid).or_else(|| {
                echoes(&server);
                None
            })
        });
        echoes(&server);
    }
    assert_eq!(server.health()["status"], "ok");
}
