//! TagResource, UntagResource, ListTagsOfResource.

use super::create_table::TAGS_MAX;
use crate::api;
use crate::error::Error;
use crate::policy::table_name;
use crate::room::DynamoDb;
use crate::table::TableRef;
use squall_service::Ctx;

impl DynamoDb {
    fn tagged(&self, ctx: &Ctx, arn: &str) -> Result<TableRef, Error> {
        if !arn.starts_with("arn:") {
            return Err(Error::validation(format!("Invalid TableArn: Invalid ResourceArn provided as input {arn}")));
        }
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
        let table = self.tagged(ctx, &input.resource_arn)?;
        self.redefine(ctx, &table.name, |table| {
            let tags = input.tags.iter().map(|t| (t.key.clone(), t.value.clone()));
            table.tags.extend(tags);
            if table.tags.len() > TAGS_MAX {
                return Err(Error::validation("One or more parameter values were invalid: Too many tags: at most 50"));
            }
            Ok(())
        })
        .await?;
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
