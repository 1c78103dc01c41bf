//! SIGKILL under load, again and again: what was acknowledged is there afterwards, and nothing is left over.

use crate::leftovers;
use crate::load::{Customer, Writer, zip};
use serde_json::json;
use squall_testkit::{Server, until};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 8;

/// Puts the id of its event into the table `ran`.
const RECORDER: &str = "
import boto3
table = boto3.resource('dynamodb').Table('ran')
def handler(event, context):
    table.put_item(Item={'id': event['id']})
";

#[derive(Default)]
struct Acknowledged {
    items: Vec<String>,
    functions: Vec<String>,
    events: Vec<String>,
    lines: Vec<String>,
}

impl Acknowledged {
    /// Writes from five customers at once until the server is killed.
    fn round(&mut self, server: &mut Server, round: usize, role: &str, code: &str) {
        let customer = Customer::of(server);
        let first = round * 1_000_000;
        let items: Vec<_> = (0..2)
            .map(|w| {
                let c = customer.clone();
                Writer::start(first, move |n| {
                    let id = format!("item-{w}-{n}");
                    Some((c.put("items", &id)?, id))
                })
            })
            .collect();
        let (c, role, code) = (customer.clone(), role.to_owned(), code.to_owned());
        let functions = Writer::start(first, move |n| {
            let name = format!("made-{n}");
            Some((c.make_function(&name, &role, "python3.11", &code)?, name))
        });
        let c = customer.clone();
        let events = Writer::start(first, move |n| {
            let id = format!("event-{n}");
            // Not so many that running them takes the test's whole time.
            thread::sleep(Duration::from_millis(30));
            Some((c.invoke("recorder", "Event", &json!({ "id": id }))?.0, id))
        });
        let c = customer.clone();
        let lines = Writer::start(first, move |n| {
            let id = format!("line-{n}");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
            let input = json!({
                "logGroupName": "/crash", "logStreamName": "s",
                "logEvents": [{ "timestamp": now as u64, "message": id }],
            });
            Some((c.json("Logs_20140328.PutLogEvents", &input)?.0, id))
        });
        // A different moment each round: during a commit, a checkpoint, a start.
        thread::sleep(Duration::from_millis(150 + 83 * (round as u64 % 5)));
        server.kill9();
        items.into_iter().for_each(|w| self.items.extend(w.end()));
        self.functions.extend(functions.end());
        self.events.extend(events.end());
        self.lines.extend(lines.end());
    }

    fn check(&self, server: &Server) {
        let customer = Customer::of(server);
        let lost: Vec<_> = self.items.iter().filter(|id| !customer.has("items", id)).collect();
        assert!(lost.is_empty(), "{} acknowledged items, lost: {lost:?}", self.items.len());
        let lost: Vec<_> = self.functions.iter().filter(|name| !customer.has_function(name)).collect();
        assert!(lost.is_empty(), "{} acknowledged functions, lost: {lost:?}", self.functions.len());
        let found = lines(&customer);
        let lost: Vec<_> = self.lines.iter().filter(|id| !found.contains(*id)).collect();
        assert!(lost.is_empty(), "{} acknowledged log events, lost: {lost:?}", self.lines.len());
        let mut waiting: Vec<_> = self.events.iter().collect();
        let deadline = std::time::Instant::now() + Duration::from_secs(120);
        while !waiting.is_empty() {
            waiting.retain(|id| !customer.has("ran", id));
            assert!(std::time::Instant::now() < deadline, "acknowledged events that did not run: {waiting:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn lines(customer: &Customer) -> Vec<String> {
    let mut found = Vec::new();
    let mut token = json!(null);
    loop {
        let mut input = json!({ "logGroupName": "/crash", "limit": 10_000 });
        if !token.is_null() {
            input["nextToken"] = token;
        }
        let (status, mut page) = customer.json("Logs_20140328.FilterLogEvents", &input).expect("an answer");
        assert_eq!(status, 200, "{page}");
        let events = page["events"].as_array().expect("events");
        found.extend(events.iter().filter_map(|e| Some(e["message"].as_str()?.to_owned())));
        token = page["nextToken"].take();
        if token.is_null() {
            return found;
        }
    }
}

#[test]
fn no_acknowledged_write_is_lost() {
    let Some(mut server) = Server::start_durable() else { return };
    let customer = Customer::of(&server);
    customer.make_table("items");
    customer.make_table("ran");
    let role = customer.make_role("r");
    let (recorder, code) = (zip("index.py", RECORDER), zip("index.py", "def handler(e, c):\n    return 1\n"));
    assert_eq!(customer.make_function("recorder", &role, "python3.11", &recorder), Some(201));
    customer.wait_active("recorder");
    for (target, more) in [("CreateLogGroup", json!({})), ("CreateLogStream", json!({ "logStreamName": "s" }))] {
        let mut input = json!({ "logGroupName": "/crash" });
        if let Some(name) = more.get("logStreamName") {
            input["logStreamName"] = name.clone();
        }
        assert_eq!(customer.json(&format!("Logs_20140328.{target}"), &input).expect("an answer").0, 200);
    }
    let mut acknowledged = Acknowledged::default();
    let mut cgroups = Vec::new();
    for round in 0..ROUNDS {
        cgroups.extend(leftovers::cgroups(&server));
        acknowledged.round(&mut server, round, &role, &code);
        // Functions die with their server, not with the next one's start.
        until("functions and the spawner have ended", || leftovers::processes(&server).is_empty().then_some(()));
        server.restart();
        println!("round {round}: up again after {:?}", server.started_in);
    }
    let a = &acknowledged;
    println!(
        "acknowledged: {} items, {} functions, {} events, {} log lines",
        a.items.len(),
        a.functions.len(),
        a.events.len(),
        a.lines.len()
    );
    for (what, all) in [("items", &a.items), ("functions", &a.functions), ("events", &a.events), ("lines", &a.lines)] {
        // A busy machine acknowledges few before each kill.
        assert!(!all.is_empty(), "the load reached the server: {what}");
    }
    acknowledged.check(&server);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(leftovers::processes(&server), Vec::<String>::new());
    assert_eq!(leftovers::mounts(&server), Vec::<String>::new());
    cgroups.retain(|folder| folder.exists());
    assert!(cgroups.is_empty(), "cgroups left: {cgroups:?}");
}

#[test]
fn functions_that_run_while_the_server_dies_leave_nothing() {
    let Some(mut server) = Server::start_durable() else { return };
    let customer = Customer::of(&server);
    let role = customer.make_role("r");
    let code = zip(
        "index.py",
        "import subprocess, time\ndef handler(e, c):\n    subprocess.Popen(['sleep', '600'])\n    time.sleep(600)\n",
    );
    assert_eq!(customer.make_function("sleeper", &role, "python3.11", &code), Some(201));
    customer.wait_active("sleeper");
    for _ in 0..4 {
        assert_eq!(customer.invoke("sleeper", "Event", &json!({})).expect("an answer").0, 202);
    }
    until("four functions sleep", || {
        (leftovers::processes(&server).iter().filter(|p| p.contains("sleep 600")).count() == 4).then_some(())
    });
    let cgroups = leftovers::cgroups(&server);
    assert!(!cgroups.is_empty(), "functions run in cgroups");
    server.kill9();
    until("they have ended", || leftovers::processes(&server).is_empty().then_some(()));
    server.restart();
    assert_eq!(server.health()["status"], "ok");
    assert_eq!(server.stop(), Some(0));
    assert_eq!(leftovers::mounts(&server), Vec::<String>::new());
    assert!(cgroups.iter().all(|folder| !folder.exists()), "{cgroups:?}");
}
