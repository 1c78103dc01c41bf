//! The trait of a room.

use crate::{Access, Ctx};
use async_trait::async_trait;
use squall_protocol::{Operation, Service, ServiceError, Value};

/// How much of a request the gateway reads before it refuses.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit {
    /// Most bytes.
    pub bytes_max: usize,
    /// The refusal.
    pub error: fn() -> ServiceError,
}

/// One service, as the gateway sees it.
#[async_trait]
pub trait Room: Send + Sync {
    /// The service's tables (`api::SERVICE`).
    fn service(&self) -> &'static Service;

    /// What the operation does to which resources, for the policy check. Pure: no reads. An empty list means that the
    /// operation needs no grant (`sts:GetCallerIdentity`).
    ///
    /// The input has passed the constraint check. Use `input.text(shape, "TableName")`, or `api::XInput::from_value(input.clone())`
    /// where the operation is rare.
    fn access(&self, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access>;

    /// The resource-based policy that guards `access.resource`, as JSON text, where the service has such policies.
    async fn resource_policy(&self, _ctx: &Ctx, _access: &Access) -> Option<String> {
        None
    }

    /// Runs the operation. Rooms forward to the generated `api::dispatch`.
    async fn call(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError>;

    /// Most bytes of a request body for that operation (`None` while it is not known, as in the query protocol), and the error
    /// beyond it.
    fn body_limit(&self, _op: Option<&'static Operation>) -> BodyLimit {
        BodyLimit {
            bytes_max: 16 * 1024 * 1024,
            error: || ServiceError::client("RequestEntityTooLarge", 413, "The request body is too large"),
        }
    }

    /// Whether the service checks constraints by its own texts and order for that operation; the generic check is skipped then.
    fn validates_itself(&self, _op: &'static Operation) -> bool {
        false
    }
}
