//! The room itself: what it holds, and how the gateway sees it.

use crate::api::{self, *};
use crate::catalog::{Catalog, Group, Stream};
use crate::error::Error;
use crate::ops;
use crate::sink::Sink;
use crate::writer::Writer;
use async_trait::async_trait;
use squall_protocol::{Operation, Service, ServiceError, Value};
use squall_service::{Access, Ctx, Deps, Room};
use std::path::Path;
use std::sync::Arc;

/// The logs room.
pub struct Logs {
    pub(crate) deps: Deps,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) writer: Writer,
    pub(crate) sink: Sink,
}

impl Logs {
    /// Opens the room over its folder.
    ///
    /// # Errors
    /// The state or the folder cannot be read.
    pub async fn open(deps: Deps, folder: &Path) -> Result<Arc<Self>, Error> {
        let catalog = Arc::new(Catalog::load(deps.state.clone(), folder).await?);
        let writer = Writer::start().map_err(|e| Error::internal("start the log writer", e))?;
        let sink = Sink::start(catalog.clone(), writer.clone(), deps.clock.clone());
        let room = Arc::new(Self { deps, catalog, writer, sink });
        crate::worker::start(&room);
        Ok(room)
    }

    /// Writes what is still on its way.
    pub async fn shutdown(&self) {
        self.sink.drain().await;
        if let Err(e) = self.writer.flush().await {
            tracing::error!(error = %e, "flush the logs");
        }
    }

    /// Waits until what functions have printed so far is to be found, streams and lines.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        self.sink.drain().await;
        self.writer.written().await
    }

    /// Lines of functions that were dropped because the disk could not follow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.sink.dropped()
    }

    pub(crate) fn group(&self, ctx: &Ctx, name: &str) -> Result<Arc<Group>, Error> {
        self.catalog.group(ctx.region.as_str(), name).ok_or(Error::NoGroup)
    }

    /// A group by `logGroupName` or `logGroupIdentifier` (a name or an ARN); exactly one must be given.
    pub(crate) fn group_by(
        &self,
        ctx: &Ctx,
        name: Option<&str>,
        identifier: Option<&str>,
    ) -> Result<Arc<Group>, Error> {
        match (name, identifier) {
            (Some(name), None) => self.group(ctx, name),
            (None, Some(id)) => self.group(ctx, group_name(id)),
            (Some(_), Some(_)) => {
                Err(Error::Validation("LogGroup name and LogGroup ARN are mutually exclusive parameters.".into()))
            }
            (None, None) => {
                Err(Error::Validation("Either logGroupName or logGroupIdentifier must be specified.".into()))
            }
        }
    }

    pub(crate) fn stream(&self, group: &Group, name: &str) -> Result<Arc<Stream>, Error> {
        group.streams.read().get(name).cloned().ok_or(Error::NoStream)
    }
}

/// The group's name in an ARN (`arn:…:log-group:NAME[:*]`) or the text itself.
pub(crate) fn group_name(identifier: &str) -> &str {
    match identifier.split_once(":log-group:") {
        Some((_, rest)) => rest.strip_suffix(":*").unwrap_or(rest),
        None => identifier,
    }
}

#[async_trait]
impl Room for Logs {
    fn service(&self) -> &'static Service {
        &api::SERVICE
    }

    fn access(&self, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
        let text = |member| op.input.and_then(|shape| input.text(shape, member));
        let group = text("logGroupName").or_else(|| text("logGroupIdentifier").map(group_name));
        let resource = match (group, text("resourceArn")) {
            (Some(group), _) => {
                let tail = match (op.name, text("logStreamName")) {
                    ("PutLogEvents" | "GetLogEvents" | "DeleteLogStream", Some(stream)) => {
                        format!("log-stream:{stream}")
                    }
                    _ => "*".to_owned(),
                };
                ctx.arn("logs", &format!("log-group:{group}:{tail}"))
            }
            (None, Some(arn)) => arn.to_owned(),
            (None, None) => match text("logGroupNamePrefix") {
                Some(prefix) => ctx.arn("logs", &format!("log-group:{prefix}*")),
                None => ctx.arn("logs", "log-group:*"),
            },
        };
        vec![Access::new(format!("logs:{}", op.name), resource)]
    }

    async fn call(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError> {
        api::dispatch(self, ctx, op, input).await
    }
}

/// Forwards each operation to its function under `ops/`.
macro_rules! forward {
    ($($op:ident($input:ident) -> $output:ident = $path:path;)*) => {
        #[async_trait]
        impl Api for Logs {
            $(async fn $op(&self, ctx: &Ctx, input: $input) -> Result<$output, ServiceError> {
                Ok($path(self, ctx, input).await?)
            })*
        }
    };
}

forward! {
    create_log_group(CreateLogGroupInput) -> CreateLogGroupOutput = ops::group::create_log_group;
    delete_log_group(DeleteLogGroupInput) -> DeleteLogGroupOutput = ops::group::delete_log_group;
    describe_log_groups(DescribeLogGroupsInput) -> DescribeLogGroupsOutput = ops::group::describe_log_groups;
    put_retention_policy(PutRetentionPolicyInput) -> PutRetentionPolicyOutput = ops::group::put_retention_policy;
    delete_retention_policy(DeleteRetentionPolicyInput) -> DeleteRetentionPolicyOutput = ops::group::delete_retention_policy;
    create_log_stream(CreateLogStreamInput) -> CreateLogStreamOutput = ops::stream::create_log_stream;
    delete_log_stream(DeleteLogStreamInput) -> DeleteLogStreamOutput = ops::stream::delete_log_stream;
    describe_log_streams(DescribeLogStreamsInput) -> DescribeLogStreamsOutput = ops::stream::describe_log_streams;
    put_log_events(PutLogEventsInput) -> PutLogEventsOutput = ops::event::put_log_events;
    get_log_events(GetLogEventsInput) -> GetLogEventsOutput = ops::event::get_log_events;
    filter_log_events(FilterLogEventsInput) -> FilterLogEventsOutput = ops::event::filter_log_events;
    tag_log_group(TagLogGroupInput) -> TagLogGroupOutput = ops::tag::tag_log_group;
    untag_log_group(UntagLogGroupInput) -> UntagLogGroupOutput = ops::tag::untag_log_group;
    list_tags_log_group(ListTagsLogGroupInput) -> ListTagsLogGroupOutput = ops::tag::list_tags_log_group;
    tag_resource(TagResourceInput) -> TagResourceOutput = ops::tag::tag_resource;
    untag_resource(UntagResourceInput) -> UntagResourceOutput = ops::tag::untag_resource;
    list_tags_for_resource(ListTagsForResourceInput) -> ListTagsForResourceOutput = ops::tag::list_tags_for_resource;
}
