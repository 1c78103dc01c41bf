//! The room itself: what it holds, and how the gateway sees it.

use crate::api::{self, *};
use crate::code::Code;
use crate::config::Options;
use crate::download::Downloads;
use crate::error::Error;
use crate::functions::Ready;
use crate::layers::Layers;
use crate::mapping::Mappings;
use crate::names::Name;
use crate::ops;
use crate::registry::{Entry, Registry};
use crate::rules;
use async_trait::async_trait;
use squall_protocol::{Operation, Service, ServiceError, Value};
use squall_runtime::Runtime;
use squall_service::{Access, BodyLimit, Ctx, Deps, EventSources, Identity, Room};
use std::sync::{Arc, OnceLock};

/// The lambda room.
pub struct Lambda {
    pub(crate) deps: Deps,
    pub(crate) options: Options,
    pub(crate) registry: Registry,
    pub(crate) code: Code,
    pub(crate) runtime: Runtime,
    pub(crate) identity: Arc<dyn Identity>,
    pub(crate) ready: Ready,
    pub(crate) downloads: Downloads,
    pub(crate) mappings: Mappings,
    pub(crate) layers: Layers,
    pub(crate) snapshots: crate::snap_start::Making,
    /// What runs event source mappings; connected once it is there.
    pub(crate) sources: OnceLock<Arc<dyn EventSources>>,
    /// Itself, for background work that operations start.
    pub(crate) me: std::sync::Weak<Lambda>,
}

impl Lambda {
    /// Opens the room and finishes what a crash interrupted.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn open(
        deps: Deps,
        runtime: Runtime,
        identity: Arc<dyn Identity>,
        options: Options,
    ) -> Result<Arc<Self>, Error> {
        let registry = Registry::load(deps.state.clone()).await?;
        let mappings = Mappings::load(deps.state.clone()).await?;
        let layers = Layers::load(deps.state.clone()).await?;
        let code = Code::new(&options.code_dir, deps.objects.clone());
        let downloads = Downloads::new(&*deps.random);
        let room = Arc::new_cyclic(|me| Self {
            deps,
            options,
            registry,
            code,
            runtime,
            identity,
            ready: Ready::default(),
            downloads,
            mappings,
            layers,
            snapshots: Default::default(),
            sources: OnceLock::new(),
            me: me.clone(),
        });
        crate::worker::start(&room);
        tokio::spawn(crate::provisioned::follow(Arc::downgrade(&room)));
        Ok(room)
    }

    pub(crate) fn name(&self, ctx: &Ctx, text: &str, qualifier: Option<&str>) -> Result<Name, Error> {
        Name::parse(text, qualifier, ctx.region.as_str(), ctx.account.as_str())
    }

    /// The function that a request names.
    pub(crate) fn find(&self, ctx: &Ctx, name: &Name) -> Result<Entry, Error> {
        self.registry.find(ctx.region.as_str(), &name.name).ok_or_else(|| self.missing(ctx, name))
    }

    pub(crate) fn missing(&self, ctx: &Ctx, name: &Name) -> Error {
        Error::no_function(ctx.region.as_str(), ctx.account.as_str(), &name.name, name.qualifier.as_deref())
    }

    pub(crate) fn new_id(&self) -> String {
        self.deps.random.uuid()
    }
}

#[async_trait]
impl Room for Lambda {
    fn service(&self) -> &'static Service {
        &api::SERVICE
    }

    fn access(&self, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
        let action = match op.name {
            "Invoke" => "lambda:InvokeFunction".to_owned(),
            name => format!("lambda:{name}"),
        };
        let text = |member| op.input.and_then(|shape| input.text(shape, member));
        if op.name.contains("EventSourceMapping") {
            return mapping_access(self, ctx, action, text("UUID"), text("FunctionName"));
        }
        if op.name.contains("Layer") {
            return ops::layers::access(ctx, op, input);
        }
        let resource = match (text("FunctionName"), text("Resource")) {
            (Some(name), _) => match self.name(ctx, name, text("Qualifier")) {
                Ok(n) => {
                    let tail = n.qualifier.map(|q| format!(":{q}")).unwrap_or_default();
                    ctx.arn("lambda", &format!("function:{}{tail}", n.name))
                }
                // The operation will answer the name's own error; until then nothing but a grant on everything passes.
                Err(_) => "*".to_owned(),
            },
            (None, Some(arn)) => arn.to_owned(),
            (None, None) => "*".to_owned(),
        };
        let mut accesses = vec![Access::new(action, resource)];
        if let (Some(role), "CreateFunction" | "UpdateFunctionConfiguration") = (text("Role"), op.name) {
            let mut pass = Access::new("iam:PassRole", role);
            pass.context.push(("iam:PassedToService".into(), vec!["lambda.amazonaws.com".into()]));
            accesses.push(pass);
        }
        accesses
    }

    async fn resource_policy(&self, ctx: &Ctx, access: &Access) -> Option<String> {
        let name = self.name(ctx, &access.resource, None).ok()?;
        let entry = self.registry.find(ctx.region.as_str(), &name.name)?;
        let policy = entry.record.policies.get(name.version())?;
        Some(rules::policy_document(&policy.statements))
    }

    fn body_limit(&self, op: Option<&'static Operation>) -> BodyLimit {
        match op.map(|o| o.name) {
            Some("CreateFunction") => {
                BodyLimit { bytes_max: 70_167_211, error: || too_large("70167211", "CreateFunction") }
            }
            Some("UpdateFunctionCode") => {
                BodyLimit { bytes_max: 70_167_211, error: || too_large("70167211", "UpdateFunctionCode") }
            }
            Some("PublishLayerVersion") => {
                BodyLimit { bytes_max: 70_167_211, error: || too_large("70167211", "PublishLayerVersion") }
            }
            Some("Invoke") => BodyLimit { bytes_max: 6_291_456, error: || too_large("6291456", "InvokeFunction") },
            _ => BodyLimit { bytes_max: 1 << 20, error: || too_large("1048576", "requested") },
        }
    }

    async fn call(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError> {
        api::dispatch(self, ctx, op, input).await
    }
}

/// Mappings are resources of their own; which function one is for is a condition key.
fn mapping_access(room: &Lambda, ctx: &Ctx, action: String, uuid: Option<&str>, function: Option<&str>) -> Vec<Access> {
    let resource = uuid.map_or_else(|| "*".to_owned(), |u| ctx.arn("lambda", &format!("event-source-mapping:{u}")));
    let mut access = Access::new(action, resource);
    let named = function.and_then(|f| room.name(ctx, f, None).ok()).map(|n| {
        let tail = n.qualifier.map(|q| format!(":{q}")).unwrap_or_default();
        ctx.arn("lambda", &format!("function:{}{tail}", n.name))
    });
    let held = uuid.and_then(|u| room.mappings.find(ctx.region.as_str(), u)).map(|s| s.mapping.function_arn.clone());
    if let Some(arn) = named.or(held) {
        access.context.push(("lambda:FunctionArn".into(), vec![arn]));
    }
    vec![access]
}

fn too_large(bytes: &str, operation: &str) -> ServiceError {
    Error::TooLarge(format!("Request must be smaller than {bytes} bytes for the {operation} operation")).into()
}

/// Forwards each operation to its function under `ops/`.
macro_rules! forward {
    ($($op:ident($input:ident) -> $output:ident = $path:path;)*) => {
        #[async_trait]
        impl Api for Lambda {
            $(async fn $op(&self, ctx: &Ctx, input: $input) -> Result<$output, ServiceError> {
                Ok($path(self, ctx, input).await?)
            })*
        }
    };
}

forward! {
    create_function(CreateFunctionInput) -> CreateFunctionOutput = ops::function::create_function;
    get_function(GetFunctionInput) -> GetFunctionOutput = ops::function::get_function;
    get_function_configuration(GetFunctionConfigurationInput) -> GetFunctionConfigurationOutput = ops::function::get_function_configuration;
    list_functions(ListFunctionsInput) -> ListFunctionsOutput = ops::function::list_functions;
    delete_function(DeleteFunctionInput) -> DeleteFunctionOutput = ops::function::delete_function;
    update_function_code(UpdateFunctionCodeInput) -> UpdateFunctionCodeOutput = ops::update::update_function_code;
    update_function_configuration(UpdateFunctionConfigurationInput) -> UpdateFunctionConfigurationOutput = ops::update::update_function_configuration;
    invoke(InvokeInput) -> InvokeOutput = ops::invocation::invoke;
    publish_version(PublishVersionInput) -> PublishVersionOutput = ops::version::publish_version;
    list_versions_by_function(ListVersionsByFunctionInput) -> ListVersionsByFunctionOutput = ops::version::list_versions_by_function;
    create_alias(CreateAliasInput) -> CreateAliasOutput = ops::alias::create_alias;
    get_alias(GetAliasInput) -> GetAliasOutput = ops::alias::get_alias;
    update_alias(UpdateAliasInput) -> UpdateAliasOutput = ops::alias::update_alias;
    delete_alias(DeleteAliasInput) -> DeleteAliasOutput = ops::alias::delete_alias;
    list_aliases(ListAliasesInput) -> ListAliasesOutput = ops::alias::list_aliases;
    create_function_url_config(CreateFunctionUrlConfigInput) -> CreateFunctionUrlConfigOutput = ops::url_config::create_function_url_config;
    get_function_url_config(GetFunctionUrlConfigInput) -> GetFunctionUrlConfigOutput = ops::url_config::get_function_url_config;
    update_function_url_config(UpdateFunctionUrlConfigInput) -> UpdateFunctionUrlConfigOutput = ops::url_config::update_function_url_config;
    delete_function_url_config(DeleteFunctionUrlConfigInput) -> DeleteFunctionUrlConfigOutput = ops::url_config::delete_function_url_config;
    list_function_url_configs(ListFunctionUrlConfigsInput) -> ListFunctionUrlConfigsOutput = ops::url_config::list_function_url_configs;
    add_permission(AddPermissionInput) -> AddPermissionOutput = ops::permission::add_permission;
    remove_permission(RemovePermissionInput) -> RemovePermissionOutput = ops::permission::remove_permission;
    get_policy(GetPolicyInput) -> GetPolicyOutput = ops::permission::get_policy;
    tag_resource(TagResourceInput) -> TagResourceOutput = ops::tag::tag_resource;
    untag_resource(UntagResourceInput) -> UntagResourceOutput = ops::tag::untag_resource;
    list_tags(ListTagsInput) -> ListTagsOutput = ops::tag::list_tags;
    put_function_concurrency(PutFunctionConcurrencyInput) -> PutFunctionConcurrencyOutput = ops::concurrency::put_function_concurrency;
    get_function_concurrency(GetFunctionConcurrencyInput) -> GetFunctionConcurrencyOutput = ops::concurrency::get_function_concurrency;
    delete_function_concurrency(DeleteFunctionConcurrencyInput) -> DeleteFunctionConcurrencyOutput = ops::concurrency::delete_function_concurrency;
    put_provisioned_concurrency_config(PutProvisionedConcurrencyConfigInput) -> PutProvisionedConcurrencyConfigOutput = ops::provisioned::put_provisioned_concurrency_config;
    get_provisioned_concurrency_config(GetProvisionedConcurrencyConfigInput) -> GetProvisionedConcurrencyConfigOutput = ops::provisioned::get_provisioned_concurrency_config;
    delete_provisioned_concurrency_config(DeleteProvisionedConcurrencyConfigInput) -> DeleteProvisionedConcurrencyConfigOutput = ops::provisioned::delete_provisioned_concurrency_config;
    list_provisioned_concurrency_configs(ListProvisionedConcurrencyConfigsInput) -> ListProvisionedConcurrencyConfigsOutput = ops::provisioned::list_provisioned_concurrency_configs;
    get_account_settings(GetAccountSettingsInput) -> GetAccountSettingsOutput = ops::concurrency::get_account_settings;
    create_event_source_mapping(CreateEventSourceMappingInput) -> CreateEventSourceMappingOutput = ops::event_source::create_event_source_mapping;
    get_event_source_mapping(GetEventSourceMappingInput) -> GetEventSourceMappingOutput = ops::event_source::get_event_source_mapping;
    list_event_source_mappings(ListEventSourceMappingsInput) -> ListEventSourceMappingsOutput = ops::event_source::list_event_source_mappings;
    update_event_source_mapping(UpdateEventSourceMappingInput) -> UpdateEventSourceMappingOutput = ops::event_source::update_event_source_mapping;
    delete_event_source_mapping(DeleteEventSourceMappingInput) -> DeleteEventSourceMappingOutput = ops::event_source::delete_event_source_mapping;
    put_function_event_invoke_config(PutFunctionEventInvokeConfigInput) -> PutFunctionEventInvokeConfigOutput = ops::event_invoke::put_function_event_invoke_config;
    update_function_event_invoke_config(UpdateFunctionEventInvokeConfigInput) -> UpdateFunctionEventInvokeConfigOutput = ops::event_invoke::update_function_event_invoke_config;
    get_function_event_invoke_config(GetFunctionEventInvokeConfigInput) -> GetFunctionEventInvokeConfigOutput = ops::event_invoke::get_function_event_invoke_config;
    delete_function_event_invoke_config(DeleteFunctionEventInvokeConfigInput) -> DeleteFunctionEventInvokeConfigOutput = ops::event_invoke::delete_function_event_invoke_config;
    list_function_event_invoke_configs(ListFunctionEventInvokeConfigsInput) -> ListFunctionEventInvokeConfigsOutput = ops::event_invoke::list_function_event_invoke_configs;
    publish_layer_version(PublishLayerVersionInput) -> PublishLayerVersionOutput = ops::layers::publish_layer_version;
    get_layer_version(GetLayerVersionInput) -> GetLayerVersionOutput = ops::layers::get_layer_version;
    get_layer_version_by_arn(GetLayerVersionByArnInput) -> GetLayerVersionByArnOutput = ops::layers::get_layer_version_by_arn;
    list_layer_versions(ListLayerVersionsInput) -> ListLayerVersionsOutput = ops::layers::list_layer_versions;
    list_layers(ListLayersInput) -> ListLayersOutput = ops::layers::list_layers;
    delete_layer_version(DeleteLayerVersionInput) -> DeleteLayerVersionOutput = ops::layers::delete_layer_version;
    add_layer_version_permission(AddLayerVersionPermissionInput) -> AddLayerVersionPermissionOutput = ops::layers::add_layer_version_permission;
    get_layer_version_policy(GetLayerVersionPolicyInput) -> GetLayerVersionPolicyOutput = ops::layers::get_layer_version_policy;
    remove_layer_version_permission(RemoveLayerVersionPermissionInput) -> RemoveLayerVersionPermissionOutput = ops::layers::remove_layer_version_permission;
    get_function_code_signing_config(GetFunctionCodeSigningConfigInput) -> GetFunctionCodeSigningConfigOutput = ops::function::get_function_code_signing_config;
    get_runtime_management_config(GetRuntimeManagementConfigInput) -> GetRuntimeManagementConfigOutput = ops::function::get_runtime_management_config;
}
