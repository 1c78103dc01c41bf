//! BatchExecuteStatement.

use crate::error::Error;
use crate::room::DynamoDb;
use crate::wire::Fields;
use squall_protocol::Value as Wire;
use squall_service::Ctx;

impl DynamoDb {
    /// Runs up to 25 statements, each by itself.
    ///
    /// # Errors
    /// `ValidationException`: PartiQL is not served yet.
    pub(crate) async fn batch_execute_statement(&self, _ctx: &Ctx, _fields: Fields) -> Result<Wire, Error> {
        Err(Error::Unsupported("PartiQL is not supported by this cloud".into()))
    }
}
