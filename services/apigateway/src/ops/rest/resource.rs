//! Resources: the tree of paths.

use super::no_resource;
use crate::api::apigateway::*;
use crate::error::Error;
use crate::model::rest::{Resource as Held, RestApi as Def};
use crate::ops::patch::{self, Op};
use crate::room::ApiGateway;
use crate::router::Segment;
use crate::rules;
use crate::view::rest as view;
use squall_service::Ctx;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most resources of an API.
const RESOURCES_MAX: usize = 2_000;
/// Most levels of the tree.
const DEPTH_MAX: usize = 100;

/// Creates a resource under a parent.
pub async fn create_resource(
    room: &ApiGateway,
    ctx: &Ctx,
    input: CreateResourceInput,
) -> Result<CreateResourceOutput, Error> {
    let (_, made) = room
        .change_rest(ctx, &input.rest_api_id, |def| {
            let parent = def.resources.get(&input.parent_id).cloned().ok_or_else(no_resource)?;
            rules::path_part(&input.path_part)?;
            check_place(def, None, &parent, &input.path_part)?;
            if def.resources.len() >= RESOURCES_MAX {
                return Err(Error::Limit("Maximum number of resources for this API has been reached.".into()));
            }
            let path = join(&parent.path, &input.path_part);
            let id = room.new_id(6, |id| def.resources.contains_key(id));
            let made = Held {
                id: id.clone(),
                parent: Some(input.parent_id),
                part: Some(input.path_part),
                path,
                methods: BTreeMap::new(),
            };
            let made = Arc::new(made);
            def.resources.insert(id, made.clone());
            Ok(made)
        })
        .await?;
    Ok(view::resource(&made, true))
}

fn join(parent: &str, part: &str) -> String {
    if parent == "/" { format!("/{part}") } else { format!("{parent}/{part}") }
}

/// Whether a part may stand under a parent; `own` is the resource that is moved there, if any.
fn check_place(def: &Def, own: Option<&str>, parent: &Held, part: &str) -> Result<(), Error> {
    let word = |r: &Held| r.part.clone().unwrap_or_default();
    if let Segment::Greedy(_) = Segment::parse(&word(parent)) {
        let text = format!("Cannot create a child of a resource with a greedy path variable: {}", word(parent));
        return Err(Error::bad(text));
    }
    if parent.path.matches('/').count() >= DEPTH_MAX {
        return Err(Error::bad(format!("A path has at most {DEPTH_MAX} parts")));
    }
    let siblings = || {
        let under = |r: &&Arc<Held>| r.parent.as_deref() == Some(parent.id.as_str()) && Some(r.id.as_str()) != own;
        def.resources.values().filter(under)
    };
    if siblings().any(|r| r.part.as_deref() == Some(part)) {
        return Err(Error::Conflict(format!("Another resource with the same parent already has this name: {part}")));
    }
    if !matches!(Segment::parse(part), Segment::Param(_)) {
        return Ok(());
    }
    match siblings().find(|r| matches!(Segment::parse(&word(r)), Segment::Param(_))) {
        Some(other) => Err(Error::bad(format!(
            "A sibling ({}) of this resource already has a variable path part -- only one is allowed",
            word(other)
        ))),
        None => Ok(()),
    }
}

fn embeds(embed: Option<&Vec<String>>) -> bool {
    embed.into_iter().flatten().any(|e| e.eq_ignore_ascii_case("methods"))
}

/// Shows a resource.
pub async fn get_resource(room: &ApiGateway, ctx: &Ctx, input: GetResourceInput) -> Result<GetResourceOutput, Error> {
    let found = room.resource(ctx, &input.rest_api_id, &input.resource_id)?;
    Ok(view::resource(&found, embeds(input.embed.as_ref())))
}

/// Lists resources.
pub async fn get_resources(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetResourcesInput,
) -> Result<GetResourcesOutput, Error> {
    let def = room.rest_api(ctx, &input.rest_api_id)?;
    let embed = embeds(input.embed.as_ref());
    let all = def.resources.values().map(|r| (r.id.clone(), view::resource(r, embed)));
    let (items, position) = rules::page(all, input.position.as_deref(), super::limit(input.limit)?)?;
    Ok(GetResourcesOutput { position, items: Some(items) })
}

/// Removes a resource with everything under it.
pub async fn delete_resource(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteResourceInput,
) -> Result<DeleteResourceOutput, Error> {
    let id = &input.resource_id;
    let edit = |def: &mut Def| {
        let held = def.resources.get(id).cloned().ok_or_else(no_resource)?;
        if held.parent.is_none() {
            return Err(Error::bad("Root resource cannot be deleted"));
        }
        let below = format!("{}/", held.path);
        def.resources.retain(|other, r| other != id && !r.path.starts_with(&below));
        Ok(())
    };
    room.rest.change(ctx.region.as_str(), &input.rest_api_id, no_resource, edit).await?;
    Ok(DeleteResourceOutput {})
}

/// Renames or moves a resource.
pub async fn update_resource(
    room: &ApiGateway,
    ctx: &Ctx,
    input: UpdateResourceInput,
) -> Result<UpdateResourceOutput, Error> {
    let id = input.resource_id;
    let edit = |def: &mut Def| {
        for patch in patch::read(input.patch_operations)? {
            let held = def.resources.get(&id).cloned().ok_or_else(no_resource)?;
            let (word, op) = (patch.path.as_str(), patch.op.as_str());
            if !matches!(word, "/pathPart" | "/parentId") {
                let text = format!(
                    "Invalid patch path  '{word}' specified for op '{op}'. Must be one of: [/parentId, /pathPart]"
                );
                return Err(Error::bad(text));
            }
            if patch.op != Op::Replace {
                let text =
                    format!("Invalid patch path  '{word}' specified for op '{op}'. Please choose supported operations");
                return Err(Error::bad(text));
            }
            if held.parent.is_none() {
                return Err(Error::bad("Root resource cannot be updated"));
            }
            let (parent, part) = match word {
                "/pathPart" => (held.parent.clone(), Some(patch.value)),
                _ => (Some(patch.value), held.part.clone()),
            };
            place(def, &held, &parent.unwrap_or_default(), &part.unwrap_or_default())?;
        }
        def.resources.get(&id).cloned().ok_or_else(no_resource)
    };
    let (_, held) = room.rest.change(ctx.region.as_str(), &input.rest_api_id, no_resource, edit).await?;
    Ok(view::resource(&held, false))
}

/// Puts a resource with everything under it elsewhere.
fn place(def: &mut Def, held: &Held, parent: &str, part: &str) -> Result<(), Error> {
    let parent = def.resources.get(parent).cloned().ok_or_else(no_resource)?;
    rules::path_part(part)?;
    let below = format!("{}/", held.path);
    if parent.id == held.id || parent.path.starts_with(&below) {
        return Err(Error::bad("Resources cannot be cyclical."));
    }
    check_place(def, Some(&held.id), &parent, part)?;
    let is_parent = def.resources.values().any(|r| r.parent.as_ref() == Some(&held.id));
    if let (Segment::Greedy(_), true) = (Segment::parse(part), is_parent) {
        return Err(Error::bad(format!("Cannot create a child of a resource with a greedy path variable: {part}")));
    }
    let path = join(&parent.path, part);
    for resource in def.resources.values_mut() {
        if let Some(rest) = resource.path.strip_prefix(&below) {
            let moved = format!("{path}/{rest}");
            Arc::make_mut(resource).path = moved;
        } else if resource.id == held.id {
            let own = Arc::make_mut(resource);
            own.parent = Some(parent.id.clone());
            own.part = Some(part.to_owned());
            own.path = path.clone();
        }
    }
    Ok(())
}
