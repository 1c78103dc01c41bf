//! serverless.yml as typed values, every key accounted for.
//!
//! The dialect is version 3 of the Serverless Framework, and version 4 where it agrees. Reading happens on a tree whose
//! variables and intrinsic functions are already replaced. A key that is not served is refused with its file and line;
//! `docs/serverless-yml.md` lists what is.

mod cors;
mod event;
mod function;
mod layer;
mod mapping;
mod package;
mod provider;
mod resources;
mod top;

pub use cors::Cors;
pub use event::{Event, Payload};
pub use function::{Function, Url, UrlAuth};
pub use layer::Layer;
pub use mapping::{InvokeConfig, Mapping};
pub use package::Package;
pub use provider::{HttpApi, Iam, Provider, RestApi};
pub use resources::{Recovery, Resource, Table, Ttl};
pub use top::{read, read_service_name};

pub(crate) use event::read as read_event;
pub(crate) use function::default_name;
pub(crate) use layer::{arns as read_layers, logical as layer_logical, sam as read_sam_layer};
pub(crate) use mapping::{invoke as read_invoke, sam as read_sam_stream};
pub(crate) use resources::{output as read_output, resource as read_resource};

/// A whole serverless.yml.
#[derive(Clone, Debug)]
pub struct Service {
    /// `service`.
    pub name: String,
    /// `provider`.
    pub provider: Provider,
    /// `functions`, in the order of the file.
    pub functions: Vec<Function>,
    /// `package`.
    pub package: Package,
    /// `resources.Resources` of type `AWS::DynamoDB::Table`.
    pub tables: Vec<Table>,
    /// `layers`.
    pub layers: Vec<Layer>,
    /// `resources.Resources` of type `AWS::Lambda::EventSourceMapping`.
    pub mappings: Vec<Mapping>,
    /// `resources.Resources` of type `AWS::Lambda::EventInvokeConfig`.
    pub invoke_configs: Vec<InvokeConfig>,
    /// `resources.Outputs`: name and value.
    pub outputs: Vec<(String, String)>,
}

#[cfg(test)]
mod tests;
