//! What is asked: the principal, the action, the resource and the condition keys of one request.

use std::borrow::Cow;

/// What kind of identity makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// The account's root user: no identity policy restricts it.
    Root,
    /// An IAM user.
    User,
    /// A session of a role.
    AssumedRole,
    /// A federated user's session (`sts:GetFederationToken`).
    FederatedUser,
    /// A service of the platform, such as `lambda.amazonaws.com`.
    Service,
    /// Nobody: an unsigned request.
    Anonymous,
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Kind of identity.
    pub kind: PrincipalKind,
    /// The ARN as `GetCallerIdentity` gives it; a service's name for [`PrincipalKind::Service`]; `*` for nobody.
    pub arn: String,
    /// Twelve digits; empty for services and for nobody.
    pub account: String,
    /// The unique id: `AIDA…`, `AROA…:session`, the account for root.
    pub user_id: String,
    /// The ARN of the role behind a session.
    pub role_arn: Option<String>,
    /// Tags of the principal and of its session: `aws:PrincipalTag/KEY`.
    pub tags: Vec<(String, String)>,
}

impl Principal {
    /// The root user of `account`.
    #[must_use]
    pub fn root(account: &str) -> Self {
        Self::new(PrincipalKind::Root, format!("arn:aws:iam::{account}:root"), account, account)
    }

    /// An IAM user; the account is read off the ARN.
    #[must_use]
    pub fn user(arn: &str, user_id: &str) -> Self {
        Self::new(PrincipalKind::User, arn.to_owned(), account_of(arn), user_id)
    }

    /// A role's session; `session_arn` is `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    #[must_use]
    pub fn assumed_role(session_arn: &str, role_arn: &str, user_id: &str) -> Self {
        let account = account_of(session_arn);
        let mut principal = Self::new(PrincipalKind::AssumedRole, session_arn.to_owned(), account, user_id);
        principal.role_arn = Some(role_arn.to_owned());
        principal
    }

    /// A federated user's session.
    #[must_use]
    pub fn federated_user(arn: &str, user_id: &str) -> Self {
        Self::new(PrincipalKind::FederatedUser, arn.to_owned(), account_of(arn), user_id)
    }

    /// A service, such as `lambda.amazonaws.com`.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::new(PrincipalKind::Service, name.to_owned(), "", "")
    }

    /// Nobody.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(PrincipalKind::Anonymous, "*".to_owned(), "", "anonymous")
    }

    fn new(kind: PrincipalKind, arn: String, account: &str, user_id: &str) -> Self {
        let (account, user_id) = (account.to_owned(), user_id.to_owned());
        Self { kind, arn, account, user_id, role_arn: None, tags: Vec::new() }
    }

    /// The user's name without its path; none for other kinds.
    #[must_use]
    pub fn user_name(&self) -> Option<&str> {
        match self.kind {
            PrincipalKind::User => self.arn.rsplit('/').next(),
            _ => None,
        }
    }
}

/// The account part of an ARN; empty where there is none.
#[must_use]
pub fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

/// Condition keys of a request: names compare without case, each has one or many string values.
///
/// Keys that follow from the principal (`aws:username`, `aws:userid`, `aws:PrincipalArn`, `aws:PrincipalAccount`,
/// `aws:PrincipalType`, `aws:PrincipalTag/…`, `aws:PrincipalIsAWSService`, `aws:PrincipalServiceName`) are taken from
/// [`Principal`] and cannot be set here: a caller's headers must never be able to name them.
#[derive(Clone, Debug, Default)]
pub struct Context {
    entries: Vec<(Cow<'static, str>, Vec<String>)>,
    now_ms: Option<i64>,
}

impl Context {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more key.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.set(key, [value.into()]);
        self
    }

    /// Sets all values of a key; an empty list is a key that is present without values.
    pub fn set(&mut self, key: impl Into<Cow<'static, str>>, values: impl IntoIterator<Item = String>) {
        let key = key.into();
        let values = values.into_iter().collect();
        match self.entries.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(&key)) {
            Some((_, held)) => *held = values,
            None => self.entries.push((key, values)),
        }
    }

    /// Adds one value to a key.
    pub fn add(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let key = key.into();
        match self.entries.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(&key)) {
            Some((_, held)) => held.push(value.into()),
            None => self.entries.push((key, vec![value.into()])),
        }
    }

    /// The request's time in milliseconds since 1970: gives `aws:CurrentTime` and `aws:EpochTime`.
    pub fn set_now_ms(&mut self, now_ms: i64) {
        self.now_ms = Some(now_ms);
    }

    fn get(&self, key: &str) -> Option<Found<'_>> {
        if let Some((_, values)) = self.entries.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
            return Some(Found::Many(values));
        }
        let now = self.now_ms?.div_euclid(1000);
        if key.eq_ignore_ascii_case("aws:CurrentTime") {
            return Some(Found::One(crate::values::print_date(now).into()));
        }
        key.eq_ignore_ascii_case("aws:EpochTime").then(|| Found::One(now.to_string().into()))
    }
}

/// One request to decide on.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// `service:Operation`, such as `dynamodb:PutItem`.
    pub action: &'a str,
    /// The resource's ARN, or `*` for an operation that has none.
    pub resource: &'a str,
    /// Condition keys.
    pub context: &'a Context,
}

/// Values found for a key.
pub(crate) enum Found<'a> {
    One(Cow<'a, str>),
    Many(&'a [String]),
}

/// The keys and variables that a request offers to patterns and conditions.
pub(crate) struct Scope<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) context: &'a Context,
}

impl<'a> Scope<'a> {
    /// All values of a key, or none if the request does not have it.
    pub(crate) fn key(&self, key: &str) -> Option<Found<'a>> {
        const TAG: &str = "aws:PrincipalTag/";
        let principal = self.principal;
        if let Some(name) = key.get(TAG.len()..).filter(|_| starts_with_ignoring_case(key, TAG)) {
            let tag = principal.tags.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(name))?;
            return Some(Found::One(tag.1.as_str().into()));
        }
        let of_principal =
            starts_with_ignoring_case(key, "aws:Principal") || starts_with_ignoring_case(key, "aws:user");
        if let Some(found) = of_principal.then(|| principal_key(principal, key)).flatten() {
            return found.map(Found::One);
        }
        self.context.get(key)
    }

    /// The value of a policy variable: only keys with exactly one value can be used.
    pub(crate) fn variable(&self, key: &str) -> Option<Cow<'a, str>> {
        match self.key(key)? {
            Found::One(value) => Some(value),
            Found::Many([value]) => Some(value.as_str().into()),
            Found::Many(_) => None,
        }
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// A key that the principal decides: `Some(None)` is such a key without a value, `None` another key.
fn principal_key<'a>(principal: &'a Principal, key: &str) -> Option<Option<Cow<'a, str>>> {
    use PrincipalKind::{Anonymous, AssumedRole, FederatedUser, Root, Service, User};
    let is = |name: &str| key.eq_ignore_ascii_case(name);
    let service = principal.kind == Service;
    let value = if is("aws:username") {
        principal.user_name().map(Cow::from)
    } else if is("aws:userid") {
        (!service).then(|| principal.user_id.as_str().into())
    } else if is("aws:PrincipalArn") {
        let arn = principal.role_arn.as_ref().unwrap_or(&principal.arn);
        (!service && principal.kind != Anonymous).then(|| arn.as_str().into())
    } else if is("aws:PrincipalAccount") {
        (!principal.account.is_empty()).then(|| principal.account.as_str().into())
    } else if is("aws:PrincipalType") {
        match principal.kind {
            Root => Some("Account".into()),
            User => Some("User".into()),
            AssumedRole => Some("AssumedRole".into()),
            FederatedUser => Some("FederatedUser".into()),
            Anonymous => Some("Anonymous".into()),
            Service => None,
        }
    } else if is("aws:PrincipalIsAWSService") {
        Some(if service { "true" } else { "false" }.into())
    } else if is("aws:PrincipalServiceName") {
        service.then(|| principal.arn.as_str().into())
    } else {
        return None;
    };
    Some(value)
}
