//! Expressions: condition, filter, key condition, projection and update.
//!
//! The way of an expression: [`lexer`] makes tokens, [`parser`] and [`update`] make a tree whose placeholders are already
//! resolved, [`eval`] decides conditions over an item, [`apply`] changes an item, [`project`] picks parts of one,
//! [`keycond`] turns a key condition into a range of keys. Everything here is pure.
//!
//! Bounds: 4 KB of text, 300 operators, 32 steps in a path; parsing recurses only within these.
//! Known difference: where an expression has several faults, the service's choice of which to tell is not documented;
//! here a syntax error comes first and the others in the order of [`parser::Rank`].

pub mod apply;
pub mod ast;
pub mod eval;
mod functions;
pub mod keycond;
pub mod lexer;
pub mod parser;
pub mod placeholders;
pub mod project;
mod reserved;
pub mod update;

#[cfg(test)]
mod tests;

/// Which expression is read; errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExprKind {
    /// `ConditionExpression`.
    Condition,
    /// `FilterExpression`.
    Filter,
    /// `KeyConditionExpression`.
    KeyCondition,
    /// `ProjectionExpression`.
    Projection,
    /// `UpdateExpression`.
    Update,
}

impl ExprKind {
    /// The parameter's name.
    pub fn name(self) -> &'static str {
        match self {
            ExprKind::Condition => "ConditionExpression",
            ExprKind::Filter => "FilterExpression",
            ExprKind::KeyCondition => "KeyConditionExpression",
            ExprKind::Projection => "ProjectionExpression",
            ExprKind::Update => "UpdateExpression",
        }
    }
}
