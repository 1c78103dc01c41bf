//! Writers that remember what was acknowledged.

use serde_json::json;
use squall_testkit::{Credentials, Server, python, run, signed};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A customer in a thread of its own.
#[derive(Clone)]
pub struct Customer {
    address: SocketAddr,
    credentials: Credentials,
}

impl Customer {
    pub fn of(server: &Server) -> Self {
        Self { address: server.address(), credentials: server.credentials().clone() }
    }

    /// Status and body; `None` where the connection failed.
    pub fn call(
        &self,
        service: &str,
        call: (&str, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<(u16, Vec<u8>)> {
        let answer = signed(self.address, &self.credentials, service, call, headers, body).ok()?;
        Some((answer.status, answer.body))
    }

    /// A call of a service that speaks JSON with targets.
    pub fn json(&self, target: &str, input: &serde_json::Value) -> Option<(u16, serde_json::Value)> {
        let (service, kind) = match target.split_once('_') {
            Some(("DynamoDB" | "DynamoDBStreams", _)) => ("dynamodb", "application/x-amz-json-1.0"),
            _ => ("logs", "application/x-amz-json-1.1"),
        };
        let headers = [("content-type", kind), ("x-amz-target", target)];
        let (status, body) = self.call(service, ("POST", "/"), &headers, input.to_string().as_bytes())?;
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    pub fn make_table(&self, name: &str) {
        let input = json!({
            "TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        });
        let (status, answer) = self.json("DynamoDB_20120810.CreateTable", &input).expect("an answer");
        assert_eq!(status, 200, "{answer}");
        squall_testkit::until("the table is active", || {
            let input = json!({ "TableName": name });
            let (_, answer) = self.json("DynamoDB_20120810.DescribeTable", &input)?;
            (answer["Table"]["TableStatus"] == "ACTIVE").then_some(())
        });
    }

    pub fn put(&self, table: &str, id: &str) -> Option<u16> {
        let input = json!({ "TableName": table, "Item": { "id": { "S": id } } });
        Some(self.json("DynamoDB_20120810.PutItem", &input)?.0)
    }

    pub fn has(&self, table: &str, id: &str) -> bool {
        let input = json!({ "TableName": table, "Key": { "id": { "S": id } }, "ConsistentRead": true });
        let (status, answer) = self.json("DynamoDB_20120810.GetItem", &input).expect("an answer");
        assert_eq!(status, 200, "{answer}");
        answer["Item"]["id"]["S"] == id
    }

    /// Makes a role that functions may have, with everything allowed.
    pub fn make_role(&self, name: &str) -> String {
        let trust = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" } ]});
        let form = format!(
            "Action=CreateRole&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument={}",
            encoded(&trust.to_string())
        );
        self.form(&form);
        let policy = "arn:aws:iam::aws:policy/AdministratorAccess";
        self.form(&format!("Action=AttachRolePolicy&Version=2010-05-08&RoleName={name}&PolicyArn={}", encoded(policy)));
        format!("arn:aws:iam::000000000000:role/{name}")
    }

    fn form(&self, form: &str) {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let (status, body) = self.call("iam", ("POST", "/"), &headers, form.as_bytes()).expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    }

    /// CreateFunction: the status.
    pub fn make_function(&self, name: &str, role: &str, runtime: &str, zip_base64: &str) -> Option<u16> {
        let input = json!({
            "FunctionName": name, "Runtime": runtime, "Role": role, "Handler": "index.handler", "Timeout": 30,
            "MemorySize": 512, "Code": { "ZipFile": zip_base64 },
        });
        let headers = [("content-type", "application/json")];
        Some(self.call("lambda", ("POST", "/2015-03-31/functions"), &headers, input.to_string().as_bytes())?.0)
    }

    pub fn has_function(&self, name: &str) -> bool {
        let path = format!("/2015-03-31/functions/{name}");
        let (status, body) = self.call("lambda", ("GET", &path), &[], b"").expect("an answer");
        assert!(status == 200 || status == 404, "{status} {}", String::from_utf8_lossy(&body));
        status == 200
    }

    pub fn wait_active(&self, name: &str) {
        squall_testkit::until("the function is active", || {
            let path = format!("/2015-03-31/functions/{name}/configuration");
            let (_, body) = self.call("lambda", ("GET", &path), &[], b"")?;
            String::from_utf8_lossy(&body).contains(r#""State":"Active""#).then_some(())
        });
    }

    /// Invoke: status and payload.
    pub fn invoke(&self, name: &str, kind: &str, event: &serde_json::Value) -> Option<(u16, String)> {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let headers = [("x-amz-invocation-type", kind)];
        let (status, body) = self.call("lambda", ("POST", &path), &headers, event.to_string().as_bytes())?;
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// A zip with one file, in base64.
pub fn zip(name: &str, text: &str) -> String {
    let program = "import base64, io, sys, zipfile\n\
                   out = io.BytesIO()\n\
                   with zipfile.ZipFile(out, 'w') as z: z.writestr(sys.argv[1], sys.argv[2])\n\
                   print(base64.b64encode(out.getvalue()).decode(), end='')";
    run(Command::new(python()).args(["-c", program, name, text])).ok()
}

/// A writer that goes on until it is told to end, or until its server is gone.
pub struct Writer {
    is_ending: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Writer {
    /// `write` tries one number and answers whether the cloud acknowledged it; an answer that is neither a success nor a lost
    /// connection is a failure of the test.
    pub fn start(first: usize, mut write: impl FnMut(usize) -> Option<(u16, String)> + Send + 'static) -> Self {
        let is_ending = Arc::new(AtomicBool::new(false));
        let ending = is_ending.clone();
        let thread = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            for n in first.. {
                match write(n) {
                    Some((200..=299, id)) => acknowledged.push(id),
                    Some((status, id)) => panic!("writing {id}: {status}"),
                    None => break,
                }
                if ending.load(Ordering::Relaxed) {
                    break;
                }
            }
            acknowledged
        });
        Self { is_ending, thread }
    }

    /// What was acknowledged.
    #[track_caller]
    pub fn end(self) -> Vec<String> {
        self.is_ending.store(true, Ordering::Relaxed);
        self.thread.join().expect("a writer's thread")
    }
}
