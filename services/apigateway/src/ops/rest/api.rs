//! REST APIs themselves.

use crate::api::apigateway::*;
use crate::error::Error;
use crate::model::rest::{Head, Resource as Held, RestApi as Def};
use crate::ops::patch::{self, Op, Patch};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::rest::{Tags, rest_api};
use squall_service::Ctx;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most REST APIs of a region.
const APIS_MAX: usize = 10_000;
/// Most binary media types of an API.
const MEDIA_TYPES_MAX: usize = 100;

/// Creates an API with its root resource.
pub async fn create_rest_api(
    room: &ApiGateway,
    ctx: &Ctx,
    input: CreateRestApiInput,
) -> Result<CreateRestApiOutput, Error> {
    if input.description.as_deref() == Some("") {
        return Err(Error::bad("Description cannot be an empty string"));
    }
    refuse(&input)?;
    name(&input.name)?;
    let (endpoint_type, ip_address_type) = endpoint(input.endpoint_configuration)?;
    let tags = input.tags.unwrap_or_default();
    rules::tags(&tags)?;
    let binary_media_types = input.binary_media_types.unwrap_or_default();
    media_types(&binary_media_types)?;
    if room.rest.list(ctx.region.as_str(), "").len() >= APIS_MAX {
        return Err(Error::Limit("Maximum number of REST APIs for this account has been reached.".into()));
    }
    let root =
        Held { id: room.new_id(10, |_| false), parent: None, part: None, path: "/".into(), methods: BTreeMap::new() };
    let head = Head {
        id: room.new_api_id(),
        region: ctx.region.to_string(),
        name: input.name,
        description: input.description,
        version: input.version,
        created_ms: room.now_ms(),
        binary_media_types,
        endpoint_type,
        ip_address_type,
        disable_endpoint: input.disable_execute_api_endpoint.unwrap_or(false),
        root_id: root.id.clone(),
        tags,
        stages: BTreeMap::new(),
    };
    let resources = BTreeMap::from([(root.id.clone(), Arc::new(root))]);
    let def = room.rest.create(Def { head, resources, deployments: BTreeMap::new() }).await?;
    Ok(rest_api(&def, Tags::WhenAny))
}

fn refuse(input: &CreateRestApiInput) -> Result<(), Error> {
    if input.minimum_compression_size.is_some_and(|size| !(0..=10_485_760).contains(&size)) {
        return Err(Error::bad("Invalid minimum compression size, must be between 0 and 10485760"));
    }
    rules::none("cloneFrom", input.clone_from.as_ref())?;
    rules::none("minimumCompressionSize", input.minimum_compression_size)?;
    rules::only("apiKeySource", input.api_key_source.as_ref(), &"HEADER".to_owned())?;
    rules::none("A resource policy of a REST API", input.policy.as_ref().filter(|p| !p.is_empty()))?;
    rules::none("securityPolicy", input.security_policy.as_ref())?;
    rules::none("endpointAccessMode", input.endpoint_access_mode.as_ref())
}

fn name(name: &str) -> Result<(), Error> {
    match name.chars().count() {
        1..=1024 => Ok(()),
        _ => Err(Error::bad("API name must have 1 to 1024 characters")),
    }
}

fn media_types(types: &[String]) -> Result<(), Error> {
    if types.len() > MEDIA_TYPES_MAX || types.iter().any(|t| t.is_empty() || t.len() > 256) {
        return Err(Error::bad(format!(
            "At most {MEDIA_TYPES_MAX} binary media types of 1 to 256 characters are allowed"
        )));
    }
    Ok(())
}

fn endpoint(given: Option<EndpointConfiguration>) -> Result<(String, String), Error> {
    let given = given.unwrap_or_default();
    rules::none("vpcEndpointIds", given.vpc_endpoint_ids.filter(|v| !v.is_empty()))?;
    let kind = match given.types.as_deref() {
        None => "EDGE",
        Some([]) => return Err(Error::bad("REGIONAL Configuration and EDGE Configuration cannot be both DISABLED.")),
        Some([one]) => one,
        Some(_) => return Err(Error::bad("Cannot create an api with multiple Endpoint Types.")),
    };
    endpoint_type(kind)?;
    Ok((kind.to_owned(), given.ip_address_type.unwrap_or_else(|| "ipv4".into())))
}

fn endpoint_type(kind: &str) -> Result<(), Error> {
    match kind {
        "EDGE" | "REGIONAL" => Ok(()),
        // Anybody could reach it: there is no private network here.
        "PRIVATE" => Err(Error::unserved("The endpoint type PRIVATE")),
        _ => Err(Error::bad("Invalid EndpointTypes specified. Valid options are REGIONAL,EDGE,PRIVATE")),
    }
}

/// Shows an API.
pub async fn get_rest_api(room: &ApiGateway, ctx: &Ctx, input: GetRestApiInput) -> Result<GetRestApiOutput, Error> {
    Ok(rest_api(&*room.rest_api(ctx, &input.rest_api_id)?, Tags::Always))
}

/// Lists APIs.
pub async fn get_rest_apis(room: &ApiGateway, ctx: &Ctx, input: GetRestApisInput) -> Result<GetRestApisOutput, Error> {
    let all = room.rest.list(ctx.region.as_str(), input.position.as_deref().unwrap_or_default());
    let all = all.iter().map(|d| (d.head.id.clone(), rest_api(d, Tags::WhenAny)));
    let (items, position) = rules::page(all, None, super::limit(input.limit)?)?;
    Ok(GetRestApisOutput { position, items: Some(items) })
}

/// Removes an API with everything in it.
pub async fn delete_rest_api(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteRestApiInput,
) -> Result<DeleteRestApiOutput, Error> {
    let missing = || Error::no_api(ctx.account.as_str(), &input.rest_api_id);
    room.rest.remove(ctx.region.as_str(), &input.rest_api_id, missing).await?;
    Ok(DeleteRestApiOutput {})
}

/// Changes an API's settings.
pub async fn update_rest_api(
    room: &ApiGateway,
    ctx: &Ctx,
    input: UpdateRestApiInput,
) -> Result<UpdateRestApiOutput, Error> {
    let (def, ()) = room
        .change_rest(ctx, &input.rest_api_id, |def| {
            let patches = patch::read(input.patch_operations)?;
            patches.iter().try_for_each(|p| apply(&mut def.head, p))?;
            media_types(&def.head.binary_media_types)
        })
        .await?;
    Ok(rest_api(&def, Tags::Always))
}

fn apply(head: &mut Head, patch: &Patch) -> Result<(), Error> {
    match patch.keys().as_slice() {
        ["name"] => {
            patch.replaces()?;
            name(&patch.value)?;
            head.name = patch.value.clone();
        }
        ["description"] => {
            patch.replaces()?;
            head.description = patch.text();
        }
        ["version"] => {
            patch.replaces()?;
            head.version = patch.text();
        }
        ["disableExecuteApiEndpoint"] => {
            patch.replaces()?;
            head.disable_endpoint = patch.is_true();
        }
        ["apiKeySource"] => rules::only("apiKeySource", Some(&patch.value), &"HEADER".to_owned())?,
        ["binaryMediaTypes", media_type] => {
            head.binary_media_types.retain(|t| t != media_type);
            match patch.op {
                Op::Add => head.binary_media_types.push((*media_type).to_owned()),
                Op::Replace => head.binary_media_types.push(patch.value.clone()),
                Op::Remove => {}
            }
        }
        ["endpointConfiguration", "types", _] => match patch.op {
            Op::Replace => {
                endpoint_type(&patch.value)?;
                head.endpoint_type = patch.value.clone();
            }
            Op::Add | Op::Remove => {
                return Err(Error::unserved("Adding and removing endpoint types; replace works: it"));
            }
        },
        ["endpointConfiguration", "ipAddressType"] => {
            patch.replaces()?;
            if !matches!(patch.value.as_str(), "ipv4" | "dualstack") {
                return Err(Error::bad("ipAddressType must be either ipv4 or dualstack."));
            }
            head.ip_address_type = patch.value.clone();
        }
        ["minimumCompressionSize"] if patch.text().is_none() => {}
        ["minimumCompressionSize" | "policy" | "securityPolicy" | "endpointAccessMode"] => {
            return Err(Error::unserved(&format!("The patch path {}", patch.path)));
        }
        _ => return Err(patch.bad_path()),
    }
    Ok(())
}
