//! Signing and reading, against a listener of the test's own.

use squall_types::{ManualClock, Millis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn client(url: &str) -> Result<Client, Error> {
    let endpoint = Endpoint {
        url: url.to_owned(),
        access_key: "AKID".into(),
        secret: "secret".into(),
        session_token: Some("token".into()),
        region: "us-east-1".into(),
    };
    Client::new(endpoint, Arc::new(ManualClock::new(Millis(1_440_938_160_000))))
}

/// Serves the answers in turn, one connection each, and returns what was asked.
async fn serve(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let task = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.expect("accept");
            let mut seen = Vec::new();
            let mut chunk = [0u8; 4096];
            loop {
                let n = socket.read(&mut chunk).await.expect("read");
                seen.extend_from_slice(&chunk[..n]);
                let text = String::from_utf8_lossy(&seen).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or("0", str::trim);
                if body.len() >= length.parse().expect("a length") {
                    break;
                }
            }
            socket.write_all(answer.as_bytes()).await.expect("write");
            socket.shutdown().await.expect("close");
            asked.push(String::from_utf8(seen).expect("text"));
        }
        asked
    });
    (url, task)
}

fn http(status: &str, headers: &str, body: &str) -> &'static str {
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    Box::leak(text.into_boxed_str())
}

#[tokio::test]
async fn json_calls_are_signed_and_read() {
    let (url, task) = serve(vec![http("200 OK", "", r#"{"TableNames":["a"]}"#)]).await;
    let input = serde_json::json!({"Limit": 1});
    let output = client(&url).expect("valid").json("dynamodb", "DynamoDB_20120810.ListTables", &input).await;
    assert_eq!(output.expect("answered")["TableNames"][0], "a");
    let asked = task.await.expect("served").remove(0);
    for part in [
        "POST / HTTP/1.1\r\n",
        "content-type: application/x-amz-json-1.0\r\n",
        "x-amz-target: DynamoDB_20120810.ListTables\r\n",
        "x-amz-date: 20150830T123600Z\r\n",
        "x-amz-security-token: token\r\n",
        "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=",
        "\r\n\r\n{\"Limit\":1}",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
}

#[tokio::test]
async fn query_calls_read_xml() {
    let body = "<?xml version=\"1.0\"?><ListRolesResponse xmlns=\"x\"><ListRolesResult><Roles>\
                <member><RoleName>a&amp;b</RoleName></member><member><RoleName>c</RoleName></member></Roles>\
                </ListRolesResult></ListRolesResponse>";
    let (url, task) = serve(vec![http("200 OK", "", body)]).await;
    let result = client(&url).expect("valid").query("iam", "ListRoles", &[("PathPrefix", "/a b/")]).await;
    let result = result.expect("answered");
    let names: Vec<&str> = result.members("Roles").map(|r| r.text_of("RoleName")).collect();
    assert_eq!(names, ["a&b", "c"]);
    let asked = task.await.expect("served").remove(0);
    assert!(asked.ends_with("Action=ListRoles&Version=2010-05-08&PathPrefix=%2Fa%20b%2F"), "{asked}");
}

#[tokio::test]
async fn errors_keep_code_and_message() {
    let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>not &lt;there&gt;</Message>\
               </Error><RequestId>r</RequestId></ErrorResponse>";
    let cases = [
        (
            http("400 Bad Request", "", r#"{"__type":"com.x#ResourceInUseException","message":"m"}"#),
            "ResourceInUseException: m",
        ),
        (
            http("404 Not Found", "x-amzn-ErrorType: ResourceNotFoundException:http://x\r\n", r#"{"Message":"gone"}"#),
            "ResourceNotFoundException: gone",
        ),
        (http("404 Not Found", "", xml), "NoSuchEntity: not <there>"),
        (http("500 Oops", "", "boom"), "HTTP 500: boom"),
    ];
    for (answer, expected) in cases {
        let (url, task) = serve(vec![answer]).await;
        let fault = client(&url).expect("valid").rest("lambda", "GET", "/x", &[], None).await.expect_err("an error");
        assert_eq!(fault.to_string(), expected);
        assert_eq!(fault.is_not_found(), answer.contains("404"));
        task.await.expect("served");
    }
}

#[tokio::test]
async fn throttling_is_tried_again_and_other_errors_are_not() {
    let busy = http("429 Too Many", "", r#"{"__type":"TooManyRequestsException"}"#);
    let (url, task) = serve(vec![busy, busy, http("200 OK", "", "")]).await;
    let done = client(&url).expect("valid").rest("lambda", "GET", "/x", &[("a", "b c")], None).await;
    assert_eq!(done.expect("answered"), Json::Null);
    let asked = task.await.expect("served");
    assert_eq!(asked.len(), 3);
    assert!(asked[2].starts_with("GET /x?a=b%20c HTTP/1.1"), "{}", asked[2]);
}

#[tokio::test]
async fn no_cloud_is_said_in_words() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let fault = client(&url).expect("valid").rest("lambda", "GET", "/x", &[], None).await.expect_err("nobody there");
    assert!(fault.to_string().starts_with(&format!("no cloud answers at {url} (")), "{fault}");
}

#[test]
fn endpoints_that_cannot_be_are_refused() {
    for (url, expected) in [
        ("https://x", "the endpoint `https://x`: https endpoints are not supported yet; use http:// on this machine"),
        ("ftp://x", "the endpoint `ftp://x`: it must begin with http://"),
        ("127.0.0.1:4566", "the endpoint `127.0.0.1:4566`: it must begin with http://"),
    ] {
        assert_eq!(client(url).err().map(|e| e.to_string()).as_deref(), Some(expected));
    }
}
