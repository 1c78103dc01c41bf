//! What every store of objects does, whatever lies below it. A violated expectation panics.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::objects::{Chunks, ObjectError, Objects, collect};

/// Bytes of a chunk of the long bodies here.
const CHUNK: usize = 256 << 10;

/// Runs everything against an empty store, and leaves it empty.
///
/// # Panics
/// When the store breaks the contract.
pub async fn run(objects: &dyn Objects) {
    whole_bodies(objects).await;
    ranges(objects).await;
    absent_names(objects).await;
    refused_names(objects).await;
    for length in [0, 1, CHUNK, 3 * CHUNK + 7, 20 << 20] {
        long_bodies(objects, length).await;
    }
    broken_bodies_leave_nothing(objects).await;
    for name in objects.list("").await.expect("list") {
        objects.delete(&name).await.expect("delete");
    }
    assert_eq!(objects.list("").await.expect("list"), Vec::<String>::new());
}

/// Bytes that differ everywhere, so that a misplaced part is seen.
fn body(length: usize) -> Bytes {
    (0..length as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect::<Vec<_>>().into()
}

fn chunks(bytes: &Bytes) -> Vec<io::Result<Bytes>> {
    (0..bytes.len()).step_by(CHUNK).map(|at| Ok(bytes.slice(at..bytes.len().min(at + CHUNK)))).collect()
}

fn chunked(parts: Vec<io::Result<Bytes>>) -> Chunks {
    stream::iter(parts).boxed()
}

async fn get(objects: &dyn Objects, name: &str) -> Option<Bytes> {
    objects.get(name).await.expect("get")
}

async fn whole_bodies(objects: &dyn Objects) {
    objects.put("lambda/a.zip", Bytes::from_static(b"one")).await.expect("put");
    objects.put("lambda/a.zip", Bytes::from_static(b"second")).await.expect("put over it");
    objects.put("lambda/b/c", Bytes::from_static(b"3")).await.expect("put");
    objects.put("lambdas", Bytes::new()).await.expect("put of nothing");
    assert_eq!(get(objects, "lambda/a.zip").await.as_deref(), Some(&b"second"[..]));
    assert_eq!(get(objects, "lambdas").await.as_deref(), Some(&b""[..]));
    assert_eq!(objects.length("lambda/a.zip").await.expect("length"), Some(6));
    let list = |prefix: &'static str| async move { objects.list(prefix).await.expect("list") };
    assert_eq!(list("").await, ["lambda/a.zip", "lambda/b/c", "lambdas"]);
    assert_eq!(list("lambda/").await, ["lambda/a.zip", "lambda/b/c"]);
    assert_eq!(list("lambda/b").await, ["lambda/b/c"]);
    assert_eq!(list("lambda/a.z").await, ["lambda/a.zip"]);
    assert_eq!(list("none/").await, Vec::<String>::new());
    objects.delete("lambda/b/c").await.expect("delete");
    objects.delete("lambda/b/c").await.expect("delete again");
    assert_eq!(list("lambda").await, ["lambda/a.zip", "lambdas"]);
}

async fn ranges(objects: &dyn Objects) {
    let bytes = body(10_000);
    objects.put("r", bytes.clone()).await.expect("put");
    for range in [0..10_000, 0..1, 9_999..10_000, 500..700, 9_990..20_000, 10_000..10_001, 50_000..50_001, 7..7] {
        let (from, to) = (range.start.min(10_000) as usize, range.end.min(10_000) as usize);
        let part = objects.get_range("r", range.clone()).await.expect("range").expect("there");
        assert_eq!(part, bytes.slice(from..to), "{range:?}");
    }
}

async fn absent_names(objects: &dyn Objects) {
    assert_eq!(get(objects, "no/such").await, None);
    assert_eq!(objects.get_range("no/such", 0..5).await.expect("range"), None);
    assert!(objects.get_stream("no/such").await.expect("stream").is_none());
    assert_eq!(objects.length("no/such").await.expect("length"), None);
    objects.delete("no/such").await.expect("delete");
}

async fn refused_names(objects: &dyn Objects) {
    for name in ["", "../x", "a//b", "/a", "a b"] {
        let refused = |done: Result<(), ObjectError>| assert!(matches!(done, Err(ObjectError::Name(_))), "{name:?}");
        refused(objects.put(name, Bytes::new()).await);
        refused(objects.put_stream(name, chunked(Vec::new())).await.map(drop));
        refused(objects.get(name).await.map(drop));
        refused(objects.get_range(name, 0..1).await.map(drop));
        refused(objects.get_stream(name).await.map(drop));
        refused(objects.length(name).await.map(drop));
        refused(objects.delete(name).await);
    }
}

async fn long_bodies(objects: &dyn Objects, length: usize) {
    let bytes = body(length);
    let written = objects.put_stream("long/body", chunked(chunks(&bytes))).await.expect("put");
    assert_eq!(written, length as u64);
    assert_eq!(objects.length("long/body").await.expect("length"), Some(length as u64));
    let stream = objects.get_stream("long/body").await.expect("stream").expect("there");
    assert!(collect(stream).await.expect("body") == bytes, "{length} bytes came back differently");
}

async fn broken_bodies_leave_nothing(objects: &dyn Objects) {
    let before = get(objects, "long/body").await.expect("from before");
    for name in ["long/body", "long/new"] {
        let mut parts = chunks(&body(12 << 20));
        parts.push(Err(io::Error::other("the sender went away")));
        let error = objects.put_stream(name, chunked(parts)).await.expect_err("broken body");
        assert!(matches!(error, ObjectError::Io { .. }), "{error}");
        // Nobody waits for a body that stops coming.
        let stuck = stream::iter(chunks(&body(9 << 20))).chain(stream::pending()).boxed();
        let put = objects.put_stream(name, stuck);
        tokio::select! {
            done = put => panic!("a body without an end was written: {done:?}"),
            () = async { for _ in 0..200 { tokio::task::yield_now().await } } => {}
        }
    }
    assert!(get(objects, "long/body").await.expect("still there") == before);
    assert_eq!(get(objects, "long/new").await, None);
    assert_eq!(objects.list("long/").await.expect("list"), ["long/body"]);
}
