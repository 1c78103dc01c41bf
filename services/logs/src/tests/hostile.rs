//! Bad input as the gateway lets it through: each gets the service's code, and the room goes on.

use super::*;
use squall_protocol::{FromValue, IntoValue};
use squall_service::Room as _;

impl Fixture {
    /// Calls an operation as the gateway does: checked, then dispatched.
    async fn call<O: FromValue>(&self, op: &str, input: impl IntoValue) -> Result<O, ServiceError> {
        let op = self.room.service().operation(op).expect("a served operation");
        let input = input.into_value();
        squall_protocol::constraint::check(self.room.service(), op.input.expect("an input"), &input)
            .map_err(|text| ServiceError::client("InvalidParameterException", 400, text))?;
        let output = self.room.call(&self.ctx(), op, input).await?;
        Ok(O::from_value(output).expect("the output's shape"))
    }

    async fn code<O: FromValue>(&self, op: &str, input: impl IntoValue) -> &'static str {
        match self.call::<O>(op, input).await {
            Ok(_) => panic!("{op} was not refused"),
            Err(e) => {
                assert_eq!(e.status, 400, "{}", e.message);
                e.code
            }
        }
    }
}

#[tokio::test]
async fn names_that_are_none_are_refused() {
    let f = Fixture::new().await;
    let long = "x".repeat(513);
    for name in ["", "a b", "a:b", "a*", "../\0", "grüße", &long] {
        let group = CreateLogGroupInput { log_group_name: name.into(), ..Default::default() };
        let code = f.code::<CreateLogGroupOutput>("CreateLogGroup", group).await;
        assert_eq!(code, "InvalidParameterException", "{name:?}");
    }
    let f = f.with_stream().await;
    for name in ["", "a:b", "a*b", &long] {
        let stream = CreateLogStreamInput { log_group_name: "g".into(), log_stream_name: name.into() };
        let code = f.code::<CreateLogStreamOutput>("CreateLogStream", stream).await;
        assert_eq!(code, "InvalidParameterException", "{name:?}");
    }
    // Names are no paths: what looks like one stays inside the folder.
    for name in ["..", "../../etc", "/etc/passwd", "."] {
        let stream = CreateLogStreamInput { log_group_name: "g".into(), log_stream_name: name.into() };
        f.call::<CreateLogStreamOutput>("CreateLogStream", stream).await.expect("a name like any other");
        let events = vec![InputLogEvent { timestamp: NOW, message: name.into() }];
        let put = PutLogEventsInput {
            log_group_name: "g".into(),
            log_stream_name: name.into(),
            log_events: events,
            ..Default::default()
        };
        f.call::<PutLogEventsOutput>("PutLogEvents", put).await.expect("written");
    }
    let parent = f.folder.path().parent().expect("a parent");
    assert!(!parent.join("etc").exists());
    assert!(walk(f.folder.path()).iter().all(|p| p.starts_with(f.folder.path())));
    assert_eq!(found(&f.filter(|_| ()).await).len(), 4);
}

#[tokio::test]
async fn batches_out_of_bounds_are_refused() {
    let f = Fixture::new().await.with_stream().await;
    let put = |events: Vec<(i64, String)>| PutLogEventsInput {
        log_group_name: "g".into(),
        log_stream_name: "s".into(),
        log_events: events.into_iter().map(|(timestamp, message)| InputLogEvent { timestamp, message }).collect(),
        ..Default::default()
    };
    let cases = [
        ("none", put(Vec::new())),
        ("too many", put(vec![(NOW, "x".into()); 10_001])),
        ("an empty line", put(vec![(NOW, String::new())])),
        ("a time before all times", put(vec![(-1, "x".into())])),
        ("too large", put(vec![(NOW, "x".repeat(600_000)), (NOW, "x".repeat(600_000))])),
        ("a line too large", put(vec![(NOW, "x".repeat(1 << 20))])),
        ("too long a span", put(vec![(0, "x".into()), (i64::MAX, "y".into())])),
    ];
    for (what, input) in cases {
        assert_eq!(f.code::<PutLogEventsOutput>("PutLogEvents", input).await, "InvalidParameterException", "{what}");
    }
    let ahead: PutLogEventsOutput = f.call("PutLogEvents", put(vec![(i64::MAX, "x".into())])).await.unwrap();
    assert_eq!(ahead.rejected_log_events_info.and_then(|r| r.too_new_log_event_start_index), Some(0));
    assert!(f.get(|_| ()).await.events.expect("a list").is_empty());
}

#[tokio::test]
async fn a_page_that_is_full_of_bytes_has_a_next_one() {
    let f = Fixture::new().await.with_stream().await;
    for i in 0..4_i64 {
        f.put(&[(NOW + i, &"x".repeat(600_000 - usize::try_from(i).expect("small")))]).await.unwrap();
    }
    let (mut lengths, mut token) = (Vec::new(), None);
    loop {
        let page = f.filter(|i| i.next_token = token.clone()).await;
        lengths.extend(found(&page).iter().map(String::len));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(lengths, [600_000, 599_999, 599_998, 599_997]);
}

#[tokio::test]
async fn tokens_that_nobody_gave_out_are_refused() {
    let f = Fixture::new().await.with_stream().await;
    f.put(&[(NOW, "x")]).await.unwrap();
    let nines = "9".repeat(56);
    for token in ["x", "f/", "f/1/s", "é/1", "f/ééé", &format!("f/{nines}/s"), &format!("g/{}/s", "0".repeat(56))] {
        let get = GetLogEventsInput {
            log_group_name: Some("g".into()),
            log_stream_name: "s".into(),
            next_token: Some(token.into()),
            ..Default::default()
        };
        let code = f.code::<GetLogEventsOutput>("GetLogEvents", get).await;
        assert_eq!(code, "InvalidParameterException", "{token}");
        let filter = FilterLogEventsInput {
            log_group_name: Some("g".into()),
            next_token: Some(token.into()),
            ..Default::default()
        };
        let code = f.code::<FilterLogEventsOutput>("FilterLogEvents", filter).await;
        assert_eq!(code, "InvalidParameterException", "{token}");
    }
}

#[tokio::test]
async fn broken_patterns_are_refused_and_odd_ones_match_nothing() {
    let f = Fixture::new().await.with_stream().await;
    f.put(&[(NOW, "{\"a\": [1, {\"b\": \"x\"}]}"), (NOW, "plain")]).await.unwrap();
    let filter = |pattern: &str| FilterLogEventsInput {
        log_group_name: Some("g".into()),
        filter_pattern: Some(pattern.into()),
        ..Default::default()
    };
    let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(200), ")".repeat(200));
    let long = "x".repeat(1025);
    for pattern in [
        "{",
        "{ }",
        "{ $ }",
        "{ $.a = }",
        "{ $.a ! 1 }",
        "{ $.a = 1",
        "\"open",
        "?",
        "-",
        "[a, b]",
        "%x%",
        &deep,
        &long,
    ] {
        let code = f.code::<FilterLogEventsOutput>("FilterLogEvents", filter(pattern)).await;
        assert_eq!(code, "InvalidParameterException", "{pattern}");
    }
    let none = ["{ $.zzz = 1 }", "{ $.a[99999999999] = 1 }", "{ $.a.b.c.d = \"*\" }", "\u{0}"];
    for pattern in none {
        let answer = f.call::<FilterLogEventsOutput>("FilterLogEvents", filter(pattern)).await;
        assert!(answer.is_err() || found(&answer.expect("checked")).is_empty(), "{pattern}");
    }
    let stars = format!("{{ $.a[1].b = \"{}y\" }}", "*x".repeat(200));
    let answer: FilterLogEventsOutput = f.call("FilterLogEvents", filter(&stars)).await.expect("a pattern");
    assert!(found(&answer).is_empty());
}

#[tokio::test]
async fn settings_that_are_not_served_are_refused() {
    let f = Fixture::new().await.with_stream().await;
    let key = CreateLogGroupInput {
        log_group_name: "k".into(),
        kms_key_id: Some("arn:aws:kms:us-east-1:000000000000:key/k".into()),
        ..Default::default()
    };
    assert_eq!(f.code::<CreateLogGroupOutput>("CreateLogGroup", key).await, "InvalidParameterException");
    let retention = PutRetentionPolicyInput { log_group_name: "g".into(), retention_in_days: 2 };
    assert_eq!(f.code::<PutRetentionPolicyOutput>("PutRetentionPolicy", retention).await, "InvalidParameterException");
    let both = FilterLogEventsInput {
        log_group_name: Some("g".into()),
        log_group_identifier: Some("g".into()),
        ..Default::default()
    };
    assert_eq!(f.code::<FilterLogEventsOutput>("FilterLogEvents", both).await, "ValidationException");
    let neither = FilterLogEventsInput::default();
    assert_eq!(f.code::<FilterLogEventsOutput>("FilterLogEvents", neither).await, "ValidationException");
}
