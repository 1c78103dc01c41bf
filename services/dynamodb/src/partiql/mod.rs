//! PartiQL: the statements of ExecuteStatement and its siblings, read into the trees that expressions have.
//!
//! The way of a statement: [`lexer`] makes tokens, [`parser`] reads a [`Statement`], whose conditions are the ones of
//! `expr::ast` and whose parameters (`?`) are already filled in; [`plan`] finds in a condition what it says about the key of
//! a table or index. `ops/partiql` runs it. Everything here is pure.
//!
//! Bounds: 8 KiB of text (the model's), [`parser::DEPTH_MAX`] levels of parentheses and literals.
//! Known difference: the service's texts for statements that are not well formed are not documented; the detail after
//! "Statement wasn't well formed, can't be processed:" may be another.

pub mod access;
mod conditions;
mod lexer;
mod literals;
mod parser;
pub mod plan;
#[cfg(test)]
mod tests;

use crate::error::Error;
use crate::expr::ast::{Condition, Path, Step, Update};
use crate::item::{Item, Value};

/// A statement, its parameters filled in.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `SELECT`
    Select(Select),
    /// `INSERT INTO … VALUE`
    Insert(Insert),
    /// `UPDATE … SET … REMOVE … WHERE …`
    Update(UpdateItem),
    /// `DELETE FROM … WHERE …`
    Delete(DeleteItem),
    /// `EXISTS (SELECT …)`: the condition check of a transaction.
    Exists(Select),
}

/// Reads items.
#[derive(Clone, Debug)]
pub struct Select {
    /// Table name or ARN.
    pub table: String,
    /// Index name.
    pub index: Option<String>,
    /// What is wanted of each item; `None` for `*`.
    pub columns: Option<Vec<Path>>,
    /// Which items.
    pub condition: Option<Condition>,
    /// Key attributes, each with whether it goes down.
    pub order: Vec<(String, bool)>,
}

/// Puts an item that is not there yet.
#[derive(Clone, Debug)]
pub struct Insert {
    /// Table name or ARN.
    pub table: String,
    /// The item.
    pub item: Item,
}

/// Changes an item that is there.
#[derive(Clone, Debug)]
pub struct UpdateItem {
    /// Table name or ARN.
    pub table: String,
    /// The changes.
    pub update: Update,
    /// Which item, and what must hold of it.
    pub condition: Option<Condition>,
    /// What is answered.
    pub returning: Option<Returning>,
}

/// Deletes an item.
#[derive(Clone, Debug)]
pub struct DeleteItem {
    /// Table name or ARN.
    pub table: String,
    /// Which item, and what must hold of it.
    pub condition: Option<Condition>,
    /// What is answered.
    pub returning: Option<Returning>,
}

/// `RETURNING (ALL | MODIFIED) (OLD | NEW) *`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returning {
    /// Only what the statement touched.
    pub modified: bool,
    /// The item as it was.
    pub old: bool,
}

impl Statement {
    /// Whether it only reads.
    pub fn reads(&self) -> bool {
        matches!(self, Statement::Select(_) | Statement::Exists(_))
    }

    /// The table and index as the statement names them.
    pub fn target(&self) -> (&str, Option<&str>) {
        match self {
            Statement::Select(s) | Statement::Exists(s) => (&s.table, s.index.as_deref()),
            Statement::Insert(s) => (&s.table, None),
            Statement::Update(s) => (&s.table, None),
            Statement::Delete(s) => (&s.table, None),
        }
    }

    /// The IAM action.
    pub fn action(&self) -> &'static str {
        match self {
            Statement::Select(_) | Statement::Exists(_) => "dynamodb:PartiQLSelect",
            Statement::Insert(_) => "dynamodb:PartiQLInsert",
            Statement::Update(_) => "dynamodb:PartiQLUpdate",
            Statement::Delete(_) => "dynamodb:PartiQLDelete",
        }
    }

    /// What must hold of the items.
    pub fn condition(&self) -> Option<&Condition> {
        match self {
            Statement::Select(s) | Statement::Exists(s) => s.condition.as_ref(),
            Statement::Insert(_) => None,
            Statement::Update(s) => s.condition.as_ref(),
            Statement::Delete(s) => s.condition.as_ref(),
        }
    }
}

/// Reads a statement; each `?` takes the next parameter.
///
/// # Errors
/// `ValidationException` for text that is no statement, and for another number of parameters.
pub fn parse(text: &str, parameters: Vec<Value>) -> Result<Statement, Error> {
    parser::Parser::new(text, parameters)?.whole()
}

/// The name that a column has in the answer: of its last step.
pub fn column_name(path: &Path) -> String {
    let named = path.steps.iter().rev().find_map(|step| match step {
        Step::Attribute(name) => Some(name.as_str()),
        Step::Index(_) => None,
    });
    let mut name = named.unwrap_or(&path.root).to_owned();
    let trailing = path.steps.iter().rev().map_while(|step| match step {
        Step::Index(index) => Some(*index),
        Step::Attribute(_) => None,
    });
    let indexes: Vec<usize> = trailing.collect();
    indexes.iter().rev().for_each(|index| name.push_str(&format!("[{index}]")));
    name
}
