//! The data plane: requests to deployed APIs become events, answers become HTTP again.
//!
//! `rest` and `http` route a request through their stage's table; `auth` decides on callers; `event1` and `event2` build the
//! two formats of events and `answer` reads the two formats of answers; `mock` and `cors` answer without a function.

mod answer;
mod auth;
mod call;
mod cors;
mod event1;
mod event2;
mod http;
mod mock;
mod rest;
mod text;

use crate::room::ApiGateway;
use async_trait::async_trait;
use squall_protocol::Reply;
use squall_service::{Front, HttpRequest};

/// Most bytes of a request's body.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

#[async_trait]
impl Front for ApiGateway {
    fn body_bytes_max(&self) -> usize {
        BODY_BYTES_MAX
    }

    async fn serve(&self, id: &str, region: &str, mut request: HttpRequest) -> Reply {
        if region.is_empty() {
            without_default_stage(&mut request.path);
        }
        let here = |of: &str| region.is_empty() || of == region;
        if let Some(api) = self.http.by_id(id).filter(|d| here(&d.head.region)) {
            return http::serve(self, &api, request).await;
        }
        match self.rest.by_id(id).filter(|d| here(&d.head.region)) {
            Some(api) => rest::serve(self, &api, request).await,
            None => text::message(404, "Not Found"),
        }
    }
}

/// The path form of a URL (`/_aws/execute-api/ID/STAGE/…`) may name the `$default` stage, which hosts leave out.
fn without_default_stage(path: &mut String) {
    for stage in ["/$default", "/%24default"] {
        let below = path.strip_prefix(stage).filter(|b| b.is_empty() || b.starts_with('/'));
        if let Some(below) = below {
            *path = if below.is_empty() { "/".to_owned() } else { below.to_owned() };
            return;
        }
    }
}

#[cfg(test)]
#[test]
fn the_default_stage_may_be_named() {
    for (path, expected) in [
        ("/$default", "/"),
        ("/$default/a", "/a"),
        ("/%24default/a", "/a"),
        ("/$defaulted", "/$defaulted"),
        ("/dev/a", "/dev/a"),
    ] {
        let mut path = path.to_owned();
        without_default_stage(&mut path);
        assert_eq!(path, expected);
    }
}

/// Reads an answer in every way that there is, for the tests of hostile input.
#[cfg(test)]
pub fn fuzzed(payload: &bytes::Bytes) {
    for reader in
        [answer::Reader::Rest { is_binary: true }, answer::Reader::Rest { is_binary: false }, answer::Reader::Http]
    {
        let _ = answer::version_1(payload, reader);
    }
    let _ = answer::version_2(payload);
}
