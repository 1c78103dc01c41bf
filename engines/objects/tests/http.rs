//! The client on the wire: signed requests to a store that is there, overloaded, away, or not ours.

use bytes::Bytes;
use futures_util::StreamExt as _;
use squall_engine_objects::{CheckError, Credentials, Options, S3Objects};
use squall_store::objects::Objects as _;
use squall_store::suite::objects as suite;
use squall_testkit::Bucket;
use std::time::{Duration, Instant};

fn options(bucket: &Bucket, url: &str) -> Options {
    Options { url: Some(url.into()), endpoint: Some(bucket.endpoint()), ..Options::default() }
}

fn keys(bucket: &Bucket) -> Credentials {
    let (id, secret) = bucket.key();
    Credentials { access_key_id: id.into(), secret_access_key: secret.into(), session_token: None }
}

fn objects(bucket: &Bucket) -> S3Objects {
    S3Objects::new(&options(bucket, &format!("{}/a/prefix", bucket.url())), &keys(bucket)).expect("options")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_behind_http_passes_the_suite() {
    let bucket = Bucket::start();
    let objects = objects(&bucket);
    objects.check().await.expect("usable");
    suite::run(&objects).await;
    // Parts of a body that broke off are given back behind the answer.
    let until = Instant::now() + Duration::from_secs(60);
    while bucket.unfinished() > 0 {
        assert!(Instant::now() < until, "{} uploads are left", bucket.unfinished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overloaded_store_is_asked_again_and_one_that_is_away_is_given_up() {
    let bucket = Bucket::start();
    let objects = objects(&bucket);
    let body = Bytes::from_static(b"one");
    bucket.refuse(2);
    objects.put("x", body.clone()).await.expect("the third try");
    assert_eq!(bucket.names(), ["a/prefix/x"]);
    bucket.refuse(2);
    assert_eq!(objects.get("x").await.expect("the third try"), Some(body.clone()));
    bucket.set_away(true);
    let before = bucket.requests();
    objects.put("y", body.clone()).await.expect_err("nobody answers");
    assert!(bucket.requests() - before <= 12, "tries have a bound: {}", bucket.requests() - before);
    objects.get("x").await.expect_err("nobody answers");
    bucket.set_away(false);
    assert_eq!(objects.get("x").await.expect("back"), Some(body), "it recovers by itself");
    assert_eq!(objects.get("y").await.expect("back"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bodies_come_and_go_in_pieces() {
    let bucket = Bucket::start();
    let objects = objects(&bucket);
    let piece = Bytes::from(vec![7; 1 << 20]);
    let body = futures_util::stream::iter((0..19).map({
        let piece = piece.clone();
        move |_| Ok(piece.clone())
    }));
    assert_eq!(objects.put_stream("long", body.boxed()).await.expect("written"), 19 << 20);
    let mut found = objects.get_stream("long").await.expect("read").expect("there");
    let mut length = 0;
    while let Some(chunk) = found.next().await {
        length += chunk.expect("a chunk").len();
    }
    assert_eq!(length, 19 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_that_cannot_be_used_are_refused_with_what_to_do() {
    let bucket = Bucket::start();
    let check = async |options: Options, credentials: Credentials| {
        S3Objects::new(&options, &credentials).expect("options").check().await.expect_err("refused")
    };
    let url = bucket.url();
    let no_bucket = check(options(&bucket, "s3://another"), keys(&bucket)).await;
    assert!(matches!(&no_bucket, CheckError::NoBucket { bucket, .. } if bucket == "another"), "{no_bucket}");
    for wrong in [
        Credentials { access_key_id: "nobody".into(), ..keys(&bucket) },
        Credentials { secret_access_key: "wrong".into(), ..keys(&bucket) },
    ] {
        let refused = check(options(&bucket, &url), wrong).await;
        assert!(matches!(refused, CheckError::Refused { .. }), "{refused}");
        assert!(!refused.to_string().contains("wrong"), "secrets are not told: {refused}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let nobody = Options { endpoint: Some(format!("http://{free}")), ..options(&bucket, &url) };
    let nobody = check(nobody, keys(&bucket)).await;
    assert!(matches!(nobody, CheckError::Unusable { .. }), "{nobody}");
    assert!(nobody.to_string().contains("endpoint"), "{nobody}");
}
