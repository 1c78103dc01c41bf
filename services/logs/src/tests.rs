//! Tests of the room on the memory engine.

mod hostile;

use crate::Logs;
use crate::api::*;
use squall_engine_files::MemoryObjects;
use squall_protocol::ServiceError;
use squall_service::{Ctx, Deps, LogEvent, LogSink as _, Principal};
use squall_types::{AccountId, Clock, ManualClock, Millis, Region, SystemRandom};
use std::sync::Arc;
use std::time::Duration;

const NOW: i64 = 1_800_000_000_000;
const DAY_MS: i64 = 24 * 3600 * 1000;

struct Fixture {
    deps: Deps,
    clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
    room: Arc<Logs>,
}

impl Fixture {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Millis(NOW)));
        let deps = Deps {
            state: squall_testkit_state::state(clock.clone()),
            objects: Arc::new(MemoryObjects::default()),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            account: AccountId::parse("000000000000").unwrap(),
            region: Region::parse("us-east-1").unwrap(),
        };
        let folder = tempfile::tempdir().unwrap();
        let room = Logs::open(deps.clone(), folder.path()).await.unwrap();
        Self { deps, clock, folder, room }
    }

    fn ctx(&self) -> Ctx {
        Ctx {
            account: self.deps.account.clone(),
            region: self.deps.region.clone(),
            principal: Principal::Root { account: "000000000000".into() },
            request_id: "r".into(),
            time: self.clock.now(),
            source_ip: [127, 0, 0, 1].into(),
            user_agent: String::new(),
            host: String::new(),
            trace_header: None,
        }
    }

    async fn with_stream(self) -> Self {
        let group = CreateLogGroupInput { log_group_name: "g".into(), ..Default::default() };
        self.room.create_log_group(&self.ctx(), group).await.unwrap();
        let stream = CreateLogStreamInput { log_group_name: "g".into(), log_stream_name: "s".into() };
        self.room.create_log_stream(&self.ctx(), stream).await.unwrap();
        self
    }

    async fn put(&self, lines: &[(i64, &str)]) -> Result<PutLogEventsOutput, ServiceError> {
        let log_events = lines.iter().map(|(t, m)| InputLogEvent { timestamp: *t, message: (*m).into() }).collect();
        let input = PutLogEventsInput {
            log_group_name: "g".into(),
            log_stream_name: "s".into(),
            log_events,
            ..Default::default()
        };
        self.room.put_log_events(&self.ctx(), input).await
    }

    async fn get(&self, change: impl FnOnce(&mut GetLogEventsInput)) -> GetLogEventsOutput {
        let mut input =
            GetLogEventsInput { log_group_name: Some("g".into()), log_stream_name: "s".into(), ..Default::default() };
        change(&mut input);
        self.room.get_log_events(&self.ctx(), input).await.unwrap()
    }

    async fn filter(&self, change: impl FnOnce(&mut FilterLogEventsInput)) -> FilterLogEventsOutput {
        let mut input = FilterLogEventsInput { log_group_name: Some("g".into()), ..Default::default() };
        change(&mut input);
        self.room.filter_log_events(&self.ctx(), input).await.unwrap()
    }
}

fn texts(events: Option<Vec<OutputLogEvent>>) -> Vec<String> {
    events.unwrap().into_iter().map(|e| e.message.unwrap()).collect()
}

fn found(out: &FilterLogEventsOutput) -> Vec<String> {
    out.events.as_ref().unwrap().iter().map(|e| e.message.clone().unwrap()).collect()
}

#[tokio::test]
async fn lines_are_read_back_in_pages_both_ways() {
    let f = Fixture::new().await.with_stream().await;
    f.put(&[(NOW, "a"), (NOW, "b"), (NOW + 1, "c"), (NOW + 2, "d"), (NOW + 3, "e")]).await.unwrap();
    let last = f.get(|i| i.limit = Some(2)).await;
    assert_eq!(texts(last.events), ["d", "e"]);
    let before = f.get(|i| (i.limit, i.next_token) = (Some(2), last.next_backward_token.clone())).await;
    assert_eq!(texts(before.events), ["b", "c"]);
    let first = f.get(|i| (i.limit, i.start_from_head) = (Some(3), Some(true))).await;
    assert_eq!(texts(first.events), ["a", "b", "c"]);
    let rest = f.get(|i| i.next_token = first.next_forward_token.clone()).await;
    assert_eq!(texts(rest.events), ["d", "e"]);
    let none = f.get(|i| i.next_token = rest.next_forward_token.clone()).await;
    assert!(none.events.unwrap().is_empty());
    assert_eq!(none.next_forward_token, rest.next_forward_token, "the end keeps its token");
    let between = f.get(|i| (i.start_time, i.end_time) = (Some(NOW + 1), Some(NOW + 3))).await;
    assert_eq!(texts(between.events), ["c", "d"]);
}

#[tokio::test]
async fn batches_are_checked_as_the_service_does() {
    let f = Fixture::new().await.with_stream().await;
    let order = f.put(&[(NOW + 1, "a"), (NOW, "b")]).await.unwrap_err();
    assert_eq!(order.message, "Log events in a single PutLogEvents request must be in chronological order.");
    let span = f.put(&[(NOW - DAY_MS - 1, "a"), (NOW, "b")]).await.unwrap_err();
    assert_eq!(span.code, "InvalidParameterException");
    let new = f.put(&[(NOW, "ok"), (NOW + 3 * 3600 * 1000, "ahead")]).await.unwrap();
    assert_eq!(new.rejected_log_events_info.unwrap().too_new_log_event_start_index, Some(1));
    let old = f.put(&[(NOW - 15 * DAY_MS, "old")]).await.unwrap();
    assert_eq!(old.rejected_log_events_info.unwrap().too_old_log_event_end_index, Some(1));
    assert_eq!(texts(f.get(|_| ()).await.events), ["ok"]);
}

#[tokio::test]
async fn filters_merge_streams_by_time_and_page() {
    let f = Fixture::new().await.with_stream().await;
    f.put(&[(NOW, "one ERROR"), (NOW + 2, "three ERROR")]).await.unwrap();
    let events = vec![LogEvent { time: Millis(NOW + 1), message: "two ERROR".into() }];
    f.room.append("us-east-1", "g", "other", events);
    let all = f.filter(|i| i.filter_pattern = Some("ERROR".into())).await;
    assert_eq!(found(&all), ["one ERROR", "two ERROR", "three ERROR"]);
    assert_eq!(all.next_token, None);
    let first = f.filter(|i| i.limit = Some(2)).await;
    assert_eq!(found(&first), ["one ERROR", "two ERROR"]);
    let rest = f.filter(|i| i.next_token = first.next_token.clone()).await;
    assert_eq!(found(&rest), ["three ERROR"]);
    let one = f.filter(|i| i.log_stream_names = Some(vec!["other".into()])).await;
    assert_eq!(found(&one), ["two ERROR"]);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let f = Fixture::new().await.with_stream().await;
    f.put(&[(NOW, "kept")]).await.unwrap();
    f.room.append(
        "us-east-1",
        "/aws/lambda/f",
        "2026/01/01/[$LATEST]0",
        vec![LogEvent { time: Millis(NOW), message: "x".into() }],
    );
    f.room.shutdown().await;
    let Fixture { deps, clock, folder, room } = f;
    drop(room);
    let room = Logs::open(deps.clone(), folder.path()).await.unwrap();
    let f = Fixture { deps, clock, folder, room };
    assert_eq!(texts(f.get(|_| ()).await.events), ["kept"]);
    let groups =
        f.room.describe_log_groups(&f.ctx(), DescribeLogGroupsInput::default()).await.unwrap().log_groups.unwrap();
    let names: Vec<_> = groups.iter().map(|g| g.log_group_name.as_deref().unwrap()).collect();
    assert_eq!(names, ["/aws/lambda/f", "g"]);
    assert_eq!(groups[1].stored_bytes, Some(4));
}

#[tokio::test]
async fn retention_hides_lines_and_the_sweep_removes_files() {
    let f = Fixture::new().await.with_stream().await;
    f.put(&[(NOW, "old")]).await.unwrap();
    let bad = PutRetentionPolicyInput { log_group_name: "g".into(), retention_in_days: 2 };
    assert_eq!(f.room.put_retention_policy(&f.ctx(), bad).await.unwrap_err().code, "InvalidParameterException");
    let day = PutRetentionPolicyInput { log_group_name: "g".into(), retention_in_days: 1 };
    f.room.put_retention_policy(&f.ctx(), day).await.unwrap();
    assert_eq!(texts(f.get(|_| ()).await.events), ["old"]);
    f.clock.advance(Duration::from_secs(25 * 3600));
    assert!(f.get(|_| ()).await.events.unwrap().is_empty());
    crate::worker::sweep(&f.room).await.unwrap();
    let files = |p: &std::path::Path| walk(p).len();
    assert_eq!(files(f.folder.path()), 0);
    f.put(&[(NOW + 25 * 3600 * 1000, "new")]).await.unwrap();
    assert_eq!(texts(f.get(|_| ()).await.events), ["new"]);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { all.extend(walk(&entry.path())) } else { all.push(entry.path()) }
    }
    all
}

#[tokio::test]
async fn what_is_missing_or_taken_is_named() {
    let f = Fixture::new().await.with_stream().await;
    let ctx = f.ctx();
    let again = CreateLogGroupInput { log_group_name: "g".into(), ..Default::default() };
    let error = f.room.create_log_group(&ctx, again).await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        ("ResourceAlreadyExistsException", "The specified log group already exists")
    );
    let again = CreateLogStreamInput { log_group_name: "g".into(), log_stream_name: "s".into() };
    let error = f.room.create_log_stream(&ctx, again).await.unwrap_err();
    assert_eq!(error.message, "The specified log stream already exists");
    let none = DeleteLogGroupInput { log_group_name: "none".into() };
    let error = f.room.delete_log_group(&ctx, none).await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        ("ResourceNotFoundException", "The specified log group does not exist.")
    );
    f.put(&[(NOW, "x")]).await.unwrap();
    f.room.delete_log_group(&ctx, DeleteLogGroupInput { log_group_name: "g".into() }).await.unwrap();
    assert_eq!(f.put(&[(NOW, "x")]).await.unwrap_err().code, "ResourceNotFoundException");
    assert!(walk(f.folder.path()).is_empty());
    let bad = GetLogEventsInput { log_group_name: Some("g".into()), log_stream_name: "s".into(), ..Default::default() };
    assert!(f.room.get_log_events(&ctx, bad).await.is_err());
}

#[tokio::test]
async fn tags_go_by_name_and_by_arn() {
    let f = Fixture::new().await.with_stream().await;
    let ctx = f.ctx();
    let tags = |k: &str, v: &str| [(k.to_owned(), v.to_owned())].into();
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:g".to_owned();
    f.room.tag_log_group(&ctx, TagLogGroupInput { log_group_name: "g".into(), tags: tags("a", "1") }).await.unwrap();
    f.room.tag_resource(&ctx, TagResourceInput { resource_arn: arn.clone(), tags: tags("b", "2") }).await.unwrap();
    let shown =
        f.room.list_tags_for_resource(&ctx, ListTagsForResourceInput { resource_arn: arn.clone() }).await.unwrap();
    assert_eq!(shown.tags.unwrap().len(), 2);
    f.room.untag_resource(&ctx, UntagResourceInput { resource_arn: arn, tag_keys: vec!["a".into()] }).await.unwrap();
    let shown = f.room.list_tags_log_group(&ctx, ListTagsLogGroupInput { log_group_name: "g".into() }).await.unwrap();
    assert_eq!(shown.tags.unwrap(), tags("b", "2"));
}
