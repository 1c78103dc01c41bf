//! A custom runtime without dependencies: a loop over the Lambda Runtime API on one connection.
//!
//! Real functions use the crate `lambda_runtime`, which does the same; this shows all that a `bootstrap` needs.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

const PATH: &str = "/2018-06-01/runtime/invocation";

fn main() -> io::Result<()> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(io::Error::other)?;
    let mut out = TcpStream::connect(&api)?;
    out.set_nodelay(true)?;
    let mut input = BufReader::new(out.try_clone()?);
    loop {
        out.write_all(format!("GET {PATH}/next HTTP/1.1\r\nHost: {api}\r\n\r\n").as_bytes())?;
        let (id, event) = read(&mut input)?;
        let (path, answer) = match hello(&event) {
            Ok(answer) => ("response", answer),
            Err(e) => ("error", format!(r#"{{"errorType": "Hello.Error", "errorMessage": "{e}"}}"#)),
        };
        let size = answer.len();
        let head = format!("POST {PATH}/{id}/{path} HTTP/1.1\r\nHost: {api}\r\nContent-Length: {size}\r\n\r\n");
        out.write_all(&[head.as_bytes(), answer.as_bytes()].concat())?;
        read(&mut input)?;
    }
}

/// The function itself: greets the path parameter of an HTTP event.
fn hello(event: &str) -> Result<String, String> {
    if !event.trim_start().starts_with('{') {
        return Err("the event is no object".into());
    }
    let parameters = event.split_once("\"pathParameters\"").map_or("", |(_, rest)| rest);
    let name = parameters.split_once("\"name\"").and_then(|(_, rest)| rest.split('"').nth(1)).unwrap_or("world");
    println!("greeting {name}");
    let body = format!(r#"{{\"message\": \"Hello, {name}!\"}}"#);
    Ok(format!(r#"{{"statusCode": 200, "headers": {{"Content-Type": "application/json"}}, "body": "{body}"}}"#))
}

/// One answer of the API: the request id, if it is an event, and the body.
fn read(input: &mut impl BufRead) -> io::Result<(String, String)> {
    let (mut id, mut size, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            // The platform has gone.
            std::process::exit(0);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line == "\r\n" {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "lambda-runtime-aws-request-id" => id = value.trim().into(),
            "content-length" => size = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; size];
    input.read_exact(&mut body)?;
    Ok((id, String::from_utf8_lossy(&body).into_owned()))
}
