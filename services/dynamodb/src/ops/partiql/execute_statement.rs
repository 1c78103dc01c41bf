//! ExecuteStatement.

use crate::error::Error;
use crate::room::DynamoDb;
use crate::wire::Fields;
use squall_protocol::Value as Wire;
use squall_service::Ctx;

impl DynamoDb {
    /// Runs one statement.
    ///
    /// # Errors
    /// `ValidationException`: PartiQL is not served yet.
    pub(crate) async fn execute_statement(&self, _ctx: &Ctx, _fields: Fields) -> Result<Wire, Error> {
        Err(Error::Unsupported("PartiQL is not supported by this cloud".into()))
    }
}
