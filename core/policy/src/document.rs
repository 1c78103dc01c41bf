//! Policy documents: read once into compiled statements, strictly.
//!
//! What a document may hold depends on where it is used ([`DocumentKind`]); refusals carry the words of the AWS parser that
//! guards that place. Sizes that AWS counts per use (6,144 characters of a managed policy and so on) are the caller's to
//! check with [`size`]; this parser bounds every document by [`DOCUMENT_BYTES_MAX`].

use crate::condition::{self, Condition};
use crate::context::{Request, Scope};
use crate::error::ParseError;
use crate::glob::{Pattern, Syntax};
use crate::json::Json;
use crate::principal::{Named, Principals};
use crate::validate;

/// The largest document read: the bound of the `policyDocumentType` shape in the IAM model.
pub const DOCUMENT_BYTES_MAX: usize = 131_072;

/// Where a document is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A managed policy or boundary: version 2012-10-17, no principal.
    Managed,
    /// An inline policy of a user, group, role or session: either version, no principal.
    Inline,
    /// A role's trust policy: a principal, no resource, only `sts` actions.
    Trust,
    /// A resource's policy: a principal and a resource.
    Resource,
}

/// A compiled policy. Cheap to test, not meant to be written back: keep the text beside it.
#[derive(Clone, Debug)]
pub struct Policy {
    id: Option<String>,
    statements: Vec<Statement>,
}

/// What a statement does when it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Refuses, whatever else grants.
    Deny,
}

/// A pattern list that must match, or must not.
#[derive(Clone, Debug)]
enum Matcher {
    OneOf(Vec<Pattern>),
    NoneOf(Vec<Pattern>),
}

#[derive(Clone, Debug)]
enum Whom {
    /// Identity policies: the holder.
    Holder,
    OneOf(Principals),
    NoneOf(Principals),
}

/// One compiled statement.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    sid: Option<String>,
    pub(crate) effect: Effect,
    whom: Whom,
    actions: Matcher,
    /// None for trust policies: the role itself.
    resources: Option<Matcher>,
    conditions: Vec<Condition>,
}

/// The number of characters of a document as IAM counts them against its quotas: white space is free.
#[must_use]
pub fn size(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

impl Policy {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// AWS's text for `MalformedPolicyDocument`.
    pub fn parse(document: &str, kind: DocumentKind) -> Result<Self, ParseError> {
        let not_json = || match kind {
            DocumentKind::Trust | DocumentKind::Resource => ParseError::new("This policy contains invalid Json"),
            DocumentKind::Managed | DocumentKind::Inline => ParseError::syntax(),
        };
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(not_json());
        }
        let json: Json = serde_json::from_str(document).map_err(|_| not_json())?;
        let Json::Object(members) = &json else {
            return Err(not_json());
        };
        let shape = validate::shape(members, kind)?;
        let variables = shape.version_2012;
        let statements = shape.statements.iter().map(|raw| Statement::compile(raw, kind, variables));
        Ok(Self { id: shape.id.map(str::to_owned), statements: statements.collect::<Result<_, _>>()? })
    }

    /// The document's `Id`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The statements' `Sid`s, in order.
    pub fn sids(&self) -> impl Iterator<Item = Option<&str>> {
        self.statements.iter().map(|statement| statement.sid.as_deref())
    }

    /// Accounts and ARNs that the document names as principals, for a check that they exist.
    pub fn aws_principals(&self) -> impl Iterator<Item = &str> {
        self.principals().flat_map(Principals::aws)
    }

    /// Services that the document names as principals.
    pub fn service_principals(&self) -> impl Iterator<Item = &str> {
        self.principals().flat_map(Principals::services)
    }

    /// Whether a statement without conditions allows anybody: a public policy.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(|statement| {
            let anybody = match &statement.whom {
                Whom::OneOf(principals) => principals.has_anybody(),
                Whom::NoneOf(_) => true,
                Whom::Holder => false,
            };
            statement.effect == Effect::Allow && anybody && statement.conditions.is_empty()
        })
    }

    fn principals(&self) -> impl Iterator<Item = &Principals> {
        self.statements.iter().filter_map(|statement| match &statement.whom {
            Whom::OneOf(principals) | Whom::NoneOf(principals) => Some(principals),
            Whom::Holder => None,
        })
    }

    /// What the document says of a request, its closest allow, and any deny.
    pub(crate) fn verdict(&self, request: &Request<'_>, action: &str) -> Verdict {
        let scope = Scope { principal: request.principal, context: request.context };
        let mut verdict = Verdict { denied: false, allowed: Named::No };
        for statement in &self.statements {
            let worth_it = statement.effect == Effect::Deny || verdict.allowed < Named::Directly;
            if !worth_it {
                continue;
            }
            let named = statement.names(request);
            if named == Named::No || !statement.applies(request, action, &scope) {
                continue;
            }
            match statement.effect {
                Effect::Deny => return Verdict { denied: true, allowed: Named::No },
                Effect::Allow => verdict.allowed = verdict.allowed.max(named),
            }
        }
        verdict
    }
}

/// What one policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) denied: bool,
    pub(crate) allowed: Named,
}

impl Statement {
    fn compile(raw: &validate::RawStatement<'_>, kind: DocumentKind, variables: bool) -> Result<Self, ParseError> {
        let has_principal = matches!(kind, DocumentKind::Trust | DocumentKind::Resource);
        let actions = Syntax { wildcards: true, variables: false, lower_case: true };
        let resources = Syntax { wildcards: true, variables, lower_case: false };
        Ok(Self {
            sid: raw.sid.map(str::to_owned),
            effect: raw.effect,
            whom: match (raw.principal, raw.not_principal) {
                (Some(value), _) => Whom::OneOf(Principals::parse(value)?),
                (None, Some(value)) => Whom::NoneOf(Principals::parse(value)?),
                (None, None) => Whom::Holder,
            },
            actions: Matcher::new(&raw.actions, actions),
            resources: raw.resources.as_ref().map(|list| Matcher::new(list, resources)),
            conditions: match raw.condition {
                Some(value) => condition::parse(value, variables, has_principal)?,
                None => Vec::new(),
            },
        })
    }

    fn names(&self, request: &Request<'_>) -> Named {
        match &self.whom {
            Whom::Holder => Named::Directly,
            Whom::OneOf(principals) => principals.names(request.principal),
            // An account in NotPrincipal spares only that account's root; a role's ARN spares its sessions.
            Whom::NoneOf(principals) if principals.names(request.principal) > Named::ByAccount => Named::No,
            Whom::NoneOf(_) => Named::Directly,
        }
    }

    fn applies(&self, request: &Request<'_>, action: &str, scope: &Scope<'_>) -> bool {
        self.actions.matches(action, scope)
            && self.resources.as_ref().is_none_or(|resources| resources.matches(request.resource, scope))
            && self.conditions.iter().all(|condition| condition.holds(scope))
    }
}

impl Matcher {
    fn new(list: &validate::RawList<'_>, syntax: Syntax) -> Self {
        let patterns = list.items.iter().map(|text| Pattern::new(text, syntax)).collect();
        if list.negated { Self::NoneOf(patterns) } else { Self::OneOf(patterns) }
    }

    fn matches(&self, text: &str, scope: &Scope<'_>) -> bool {
        match self {
            Self::OneOf(patterns) => patterns.iter().any(|pattern| pattern.matches(text, scope)),
            Self::NoneOf(patterns) => !patterns.iter().any(|pattern| pattern.matches(text, scope)),
        }
    }
}
