//! Every error of the room: code, status and the members that SDKs read.

use super::*;
use crate::error::Error;
use squall_protocol::error::{Extra, Fault};

struct Shape {
    code: &'static str,
    status: u16,
    /// `Type`, and whether the message is written as `Message`.
    kind: Option<&'static str>,
    is_upper: bool,
}

fn shape(code: &'static str, status: u16, kind: Option<&'static str>, is_upper: bool) -> Shape {
    Shape { code, status, kind, is_upper }
}

#[test]
fn every_error_has_its_code_and_shape() {
    let text = || "text".to_owned();
    let cases = [
        (Error::NotFound(text()), shape("ResourceNotFoundException", 404, Some("User"), true)),
        (
            Error::WrongRegion { given: text(), here: text() },
            shape("ResourceNotFoundException", 404, Some("User"), true),
        ),
        (Error::Invalid(text()), shape("InvalidParameterValueException", 400, Some("User"), false)),
        (Error::Reservation(text()), shape("InvalidParameterValueException", 400, None, false)),
        (Error::Validation(text()), shape("ValidationException", 400, None, false)),
        (Error::Conflict(text()), shape("ResourceConflictException", 409, Some("User"), false)),
        (Error::Precondition(text()), shape("PreconditionFailedException", 412, Some("User"), false)),
        (Error::BadContent(text()), shape("InvalidRequestContentException", 400, Some("User"), false)),
        (Error::TooLarge(text()), shape("RequestEntityTooLargeException", 413, Some("User"), false)),
        (Error::PolicyLength(20_481), shape("PolicyLengthExceededException", 400, Some("User"), false)),
        (Error::CodeStorage, shape("CodeStorageExceededException", 400, Some("User"), false)),
        (Error::Throttled("reason"), shape("TooManyRequestsException", 429, Some("User"), false)),
        (Error::Denied(text()), shape("AccessDeniedException", 403, None, true)),
        (Error::internal("try", "secret"), shape("ServiceException", 500, Some("Service"), true)),
    ];
    for (error, expected) in cases {
        let e = ServiceError::from(error);
        let kind = e.members.iter().find(|(n, _)| *n == "Type").map(|(_, v)| match v {
            Extra::Text(t) => t.clone(),
            Extra::Shaped(..) => panic!("a type is text"),
        });
        assert_eq!((e.code, e.status), (expected.code, expected.status));
        assert_eq!((kind.as_deref(), e.upper_message), (expected.kind, expected.is_upper), "{}", e.code);
        let is_server = matches!(e.fault, Fault::Server);
        assert_eq!(is_server, e.status >= 500, "{}", e.code);
        assert!(!e.message.contains("secret"), "what went wrong inside stays inside");
    }
}

#[test]
fn a_throttle_says_why() {
    let e = ServiceError::from(Error::Throttled("ConcurrentInvocationLimitExceeded"));
    let reason = e.members.iter().any(|(n, v)| *n == "Reason" && format!("{v:?}").contains("ConcurrentInvocation"));
    assert!(reason);
}

#[tokio::test]
async fn an_instance_that_cannot_start_is_the_services_fault() {
    let cloud = Cloud::new().await;
    cloud.function("f", "nothing").await;
    let e = cloud.invoke("f", "{}").await.expect_err("no process");
    assert_eq!((e.code, e.status), ("ServiceException", 500));
    assert!(!e.message.contains("process"), "{}", e.message);
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    cloud.room.runtime.shutdown(Duration::ZERO).await;
    let e = cloud.invoke("f", "{}").await.expect_err("stopped");
    assert_eq!((e.code, e.status), ("ServiceUnavailableException", 503));
}

#[tokio::test]
async fn bodies_have_limits_by_operation() {
    let cloud = Cloud::new().await;
    let limit = |op: &str| {
        let limit = cloud.room.body_limit(cloud.room.service().operation(op));
        let e = (limit.error)();
        (limit.bytes_max, e.code, e.status, e.message)
    };
    let large = "RequestEntityTooLargeException";
    let expected = "Request must be smaller than 70167211 bytes for the CreateFunction operation".to_owned();
    assert_eq!(limit("CreateFunction"), (70_167_211, large, 413, expected));
    assert_eq!(limit("Invoke").3, "Request must be smaller than 6291456 bytes for the InvokeFunction operation");
    assert_eq!(limit("UpdateFunctionCode").0, 70_167_211);
    assert!(limit("TagResource").0 <= 1 << 20);
}

#[test]
fn storage_is_counted() {
    use crate::rules::{CODE_STORAGE_BYTES_MAX, storage};
    assert!(storage(0, CODE_STORAGE_BYTES_MAX).is_ok());
    assert!(matches!(storage(1, CODE_STORAGE_BYTES_MAX), Err(Error::CodeStorage)));
    assert!(matches!(storage(u64::MAX, 1), Err(Error::CodeStorage)));
}
