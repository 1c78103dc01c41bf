//! TagResource, UntagResource, ListTagsOfResource.

use super::definition::invalid;
use crate::api;
use crate::error::Error;
use crate::policy::table_name;
use crate::room::DynamoDb;
use crate::table::TableRef;
use squall_service::Ctx;
use std::collections::BTreeMap;

/// Most tags of a resource.
const TAGS_MAX: usize = 50;

/// Adds tags to those that are there.
///
/// # Errors
/// `ValidationException` for a key that is given twice or is the service's own, and for too many.
pub(super) fn add(to: &mut BTreeMap<String, String>, tags: &[api::Tag]) -> Result<(), Error> {
    for (at, tag) in tags.iter().enumerate() {
        if tags.iter().take(at).any(|other| other.key == tag.key) {
            return Err(invalid(format!("Tag keys must be unique, found more than one tag with the key {}", tag.key)));
        }
        if tag.key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid("aws: prefixed tag key names are not allowed for external use"));
        }
        to.insert(tag.key.clone(), tag.value.clone());
    }
    if to.len() > TAGS_MAX {
        return Err(invalid(format!("Number of tags exceeds the limit of {TAGS_MAX}")));
    }
    Ok(())
}

/// Checks the form of a table's ARN.
fn check_arn(arn: &str) -> Result<(), Error> {
    let table = arn.parse::<squall_types::Arn>().ok().filter(|a| a.service == "dynamodb");
    match table.filter(|a| a.resource.starts_with("table/")) {
        Some(_) => Ok(()),
        None => Err(Error::validation(format!("Invalid TableArn: Invalid ResourceArn provided as input {arn}"))),
    }
}

impl DynamoDb {
    fn tagged(&self, ctx: &Ctx, arn: &str) -> Result<TableRef, Error> {
        check_arn(arn)?;
        let table = self.catalog.get(ctx.region.as_str(), table_name(arn)).filter(|t| t.arn == arn);
        table.ok_or_else(|| {
            Error::ResourceNotFound(format!("Requested resource not found: ResourcArn: {arn} not found"))
        })
    }

    /// Adds tags to a table or replaces their values.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `ValidationException` for an ARN of another form or more than 50 tags.
    pub(crate) async fn tag_resource(
        &self,
        ctx: &Ctx,
        input: api::TagResourceInput,
    ) -> Result<api::TagResourceOutput, Error> {
        check_arn(&input.resource_arn)?;
        if input.tags.is_empty() {
            return Err(Error::validation("Atleast one Tag needs to be provided as Input."));
        }
        let table = self.tagged(ctx, &input.resource_arn)?;
        self.redefine(ctx, &table.name, |table| add(&mut table.tags, &input.tags)).await?;
        Ok(api::TagResourceOutput {})
    }

    /// Removes tags from a table.
    ///
    /// # Errors
    /// As [`DynamoDb::tag_resource`].
    pub(crate) async fn untag_resource(
        &self,
        ctx: &Ctx,
        input: api::UntagResourceInput,
    ) -> Result<api::UntagResourceOutput, Error> {
        check_arn(&input.resource_arn)?;
        if input.tag_keys.is_empty() {
            return Err(Error::validation("Atleast one Tag Key needs to be provided as Input."));
        }
        let table = self.tagged(ctx, &input.resource_arn)?;
        self.redefine(ctx, &table.name, |table| {
            table.tags.retain(|key, _| !input.tag_keys.contains(key));
            Ok(())
        })
        .await?;
        Ok(api::UntagResourceOutput {})
    }

    /// The tags of a table, all in one answer.
    ///
    /// # Errors
    /// As [`DynamoDb::tag_resource`].
    pub(crate) fn list_tags_of_resource(
        &self,
        ctx: &Ctx,
        input: api::ListTagsOfResourceInput,
    ) -> Result<api::ListTagsOfResourceOutput, Error> {
        let table = self.tagged(ctx, &input.resource_arn)?;
        let tags = table.tags.iter().map(|(key, value)| api::Tag { key: key.clone(), value: value.clone() });
        Ok(api::ListTagsOfResourceOutput { tags: Some(tags.collect()), next_token: None })
    }
}
