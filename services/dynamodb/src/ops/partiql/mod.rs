//! PartiQL: statements over one item or a query.

mod batch_execute_statement;
mod execute_statement;
mod execute_transaction;
