//! The apigateway and apigatewayv2 rooms: REST APIs, HTTP APIs, and the data plane that serves both.
//!
//! Shapes: an API is one definition in memory ([`registry`]), backed by rows of its parts; a deployment is an immutable
//! snapshot with a compiled routing table ([`router`]); a stage names a deployment. A request is routed through its stage's
//! table without reading the state, becomes an event (`data/`), and the function's answer becomes HTTP again.
//!
//! Invariants: an operation is answered after its rows are durable, and shows only then; what is not deployed is not served;
//! every call of a function goes through [`squall_service::Invoke`] as `apigateway.amazonaws.com` and its resource policy,
//! or with the role that the integration names.
//!
//! What this room does not do: WebSocket APIs, authorizers, API keys, usage plans, caching, throttling, mapping templates,
//! HTTP and AWS integrations: those are refused by name.

pub mod api;
mod data;
mod definition;
mod error;
mod model;
mod ops;
mod registry;
mod room;
mod router;
mod rules;
mod tables;
#[cfg(test)]
mod tests;
mod view;

/// The service principal that calls functions and takes on integrations' roles.
const PRINCIPAL: &str = "apigateway.amazonaws.com";

pub use error::Error;
pub use room::ApiGateway;
