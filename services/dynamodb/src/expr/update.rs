//! The parser of update expressions: SET, REMOVE, ADD and DELETE sections in any order, each at most once.

use super::ExprKind;
use super::ast::{Action, Expr, Path, Update};
use super::lexer::Tok;
use super::parser::{Parser, Rank, Raw};
use super::placeholders::Placeholders;
use crate::error::Error;
use crate::item::{Kind, Value};
use std::sync::Arc;

const SECTIONS: [&str; 4] = ["SET", "REMOVE", "ADD", "DELETE"];

/// Reads an update expression.
///
/// # Errors
/// `ValidationException` with the service's text, such as `Invalid UpdateExpression: Syntax error; …`.
pub fn update(text: &str, scope: &mut Placeholders) -> Result<Update, Error> {
    let mut parser = Parser::new(ExprKind::Update, text, scope)?;
    let mut actions = Vec::new();
    let mut seen = [false; 4];
    while parser.peek().tok != Tok::End {
        let Some(section) = SECTIONS.iter().position(|s| parser.peek_word(s)) else {
            return Err(parser.syntax_error());
        };
        parser.advance();
        if std::mem::replace(&mut seen[section], true) {
            let name = SECTIONS[section];
            parser.note(Rank::Form, format!("The \"{name}\" section can only be used once in an update expression;"));
        }
        actions.push(parser.action(section)?);
        while parser.eat(b',') {
            actions.push(parser.action(section)?);
        }
    }
    parser.check_paths(&actions.iter().map(Action::path).collect::<Vec<_>>());
    parser.finish()?;
    Ok(Update { actions, is_legacy: false })
}

impl Parser<'_> {
    fn action(&mut self, section: usize) -> Result<Action, Error> {
        let path = self.path()?;
        match section {
            0 => {
                if self.peek().tok != Tok::Compare(super::ast::Compare::Eq) {
                    return Err(self.syntax_error());
                }
                self.advance();
                self.operator()?;
                Ok(Action::Set(path, self.sum()?))
            }
            1 => Ok(Action::Remove(path)),
            2 => self.set_change("ADD", path, Action::Add),
            _ => self.set_change("DELETE", path, Action::Delete),
        }
    }

    fn set_change(
        &mut self,
        section: &str,
        path: Path,
        make: impl Fn(Path, Arc<Value>) -> Action,
    ) -> Result<Action, Error> {
        let token = self.peek();
        if token.tok != Tok::Value {
            return Err(self.syntax_error());
        }
        self.advance();
        self.operator()?;
        let value = self.value(token);
        let kind = value.kind();
        let allowed = matches!(kind, Kind::Ss | Kind::Ns | Kind::Bs) || (section == "ADD" && kind == Kind::N);
        if !allowed {
            self.note(
                Rank::Operand,
                format!(
                    "Incorrect operand type for operator or function; operator: {section}, operand type: {}, typeSet: \
                     ALLOWED_FOR_{section}_OPERAND",
                    kind.long_name()
                ),
            );
        }
        Ok(make(path, value))
    }

    /// The right side of SET: one term, or two with `+` or `-` between them.
    fn sum(&mut self) -> Result<Expr, Error> {
        let first = self.term()?;
        let Tok::Char(sign @ (b'+' | b'-')) = self.peek().tok else { return Ok(first) };
        self.advance();
        self.operator()?;
        let second = self.term()?;
        let name = if sign == b'+' { "+" } else { "-" };
        for side in [&first, &second] {
            if let Some(kind) = side.kind().filter(|k| *k != Kind::N) {
                self.wrong_type(name, kind);
            }
        }
        let (first, second) = (Box::new(first), Box::new(second));
        Ok(if sign == b'+' { Expr::Plus(first, second) } else { Expr::Minus(first, second) })
    }

    fn term(&mut self) -> Result<Expr, Error> {
        if self.eat(b'(') {
            self.deeper()?;
            let open = self.at;
            let inner = self.sum()?;
            if self.last_group == (open, self.at.saturating_sub(1)) {
                self.note(Rank::Form, "The expression has redundant parentheses;".into());
            }
            self.last_group = (open - 1, self.at);
            self.expect(b')')?;
            self.shallower();
            return Ok(inner);
        }
        let raw = self.raw()?;
        Ok(self.expr(raw))
    }

    fn expr(&mut self, raw: Raw) -> Expr {
        let (name, arguments) = match raw {
            Raw::Path(path) => return Expr::Path(path),
            Raw::Value(value) => return Expr::Value(value),
            Raw::Call(name, arguments) => (name, arguments),
        };
        let mut arguments: Vec<Expr> = arguments.into_iter().map(|raw| self.expr(raw)).collect();
        let nothing = || Expr::Value(Arc::new(Value::Null));
        match name.as_str() {
            "if_not_exists" | "list_append" => {
                if !self.check_count(&name, arguments.len(), 2) {
                    return nothing();
                }
            }
            "attribute_exists" | "attribute_not_exists" | "attribute_type" | "begins_with" | "contains" | "size" => {
                let why = format!("The function is not allowed in an update expression; function: {name}");
                self.note(Rank::Function, why);
                return nothing();
            }
            _ => {
                self.unknown_function(&name);
                return nothing();
            }
        }
        let second = arguments.pop().unwrap_or_else(nothing);
        let first = arguments.pop().unwrap_or_else(nothing);
        if name == "list_append" {
            for side in [&first, &second] {
                if let Some(kind) = side.kind().filter(|k| *k != Kind::L) {
                    self.wrong_type(&name, kind);
                }
            }
            return Expr::ListAppend(Box::new(first), Box::new(second));
        }
        let Expr::Path(path) = first else {
            let why = format!("Operator or function requires a document path; operator or function: {name}");
            self.note(Rank::Operand, why);
            return nothing();
        };
        Expr::IfNotExists(path, Box::new(second))
    }
}
