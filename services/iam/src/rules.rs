//! Pure rules: quotas, tags, documents, paths, paging.

use crate::api::iam::Tag;
use crate::error::Error;
use crate::model::{Role, Tags, User};
use crate::names;
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use squall_policy::{DocumentKind, Policy, size};

/// Characters of a managed policy or boundary, white space not counted.
const MANAGED_SIZE_MAX: usize = 6_144;
/// Characters of a trust policy, white space not counted.
const TRUST_SIZE_MAX: usize = 2_048;
/// Managed policies of one identity.
pub const ATTACHED_MAX: usize = 10;
/// Tags of one entity.
const TAGS_MAX: usize = 50;
/// Versions of a managed policy.
pub const VERSIONS_MAX: usize = 5;
/// Access keys of a user.
pub const KEYS_MAX: usize = 2;
/// Roles of the account.
pub const ROLES_MAX: usize = 1_000;
/// Users of the account.
pub const USERS_MAX: usize = 5_000;
/// Customer managed policies of the account.
pub const POLICIES_MAX: usize = 1_500;
/// Length of a page when the caller names none.
const PAGE_DEFAULT: usize = 100;

/// Everything but RFC 3986's unreserved characters: how IAM encodes documents in answers.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A document as answers carry it.
#[must_use]
pub fn percent_encoded(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

/// Checks an inline policy.
///
/// # Errors
/// `MalformedPolicyDocument`.
pub fn inline(document: &str) -> Result<(), Error> {
    Policy::parse(document, DocumentKind::Inline)?;
    Ok(())
}

/// Checks a managed policy.
///
/// # Errors
/// `MalformedPolicyDocument`, `LimitExceeded`.
pub fn managed(document: &str) -> Result<(), Error> {
    Policy::parse(document, DocumentKind::Managed)?;
    match size(document) {
        0..=MANAGED_SIZE_MAX => Ok(()),
        _ => Err(Error::quota("PolicySize", MANAGED_SIZE_MAX)),
    }
}

/// Checks a trust policy: the roles and users of this account that it names must exist.
///
/// # Errors
/// `MalformedPolicyDocument`, `LimitExceeded`.
pub fn trust(document: &str, world: &World) -> Result<(), Error> {
    let policy = Policy::parse(document, DocumentKind::Trust)?;
    if size(document) > TRUST_SIZE_MAX {
        return Err(Error::quota("ACLSizePerRole", TRUST_SIZE_MAX));
    }
    match policy.aws_principals().find(|arn| !is_known(arn, world)) {
        None => Ok(()),
        Some(arn) => Err(Error::Malformed(format!("Invalid principal in policy: \"AWS\":\"{arn}\""))),
    }
}

/// Whether a principal exists, as far as it can be known: other accounts and sessions are taken as they are.
fn is_known(arn: &str, world: &World) -> bool {
    let account = world.account.as_str();
    if let Some(name) = names::name_in(arn, account, "role") {
        let path = |role: &Role| names::arn(account, "role", &role.holder.path, &role.holder.name);
        return world.get::<Role>(name).is_some_and(|entry| path(&entry.record) == arn);
    }
    if let Some(name) = names::name_in(arn, account, "user") {
        let path = |user: &User| names::arn(account, "user", &user.holder.path, &user.holder.name);
        return world.get::<User>(name).is_some_and(|entry| path(&entry.record) == arn);
    }
    true
}

/// Checks that a policy may be a permissions boundary.
///
/// # Errors
/// `InvalidInput` for something that is no ARN, `NoSuchEntity`.
pub fn boundary(arn: &str, world: &World) -> Result<(), Error> {
    valid_arn(arn)?;
    let missing = || Error::NoSuchEntity(format!("Scope ARN: {arn} does not exist or is not attachable."));
    world.in_force(arn).map(|_| ()).ok_or_else(missing)
}

/// Checks that a policy may be attached.
///
/// # Errors
/// `InvalidInput` for something that is no ARN, `NoSuchEntity`.
pub fn attachable(arn: &str, world: &World) -> Result<(), Error> {
    valid_arn(arn)?;
    let missing = || Error::NoSuchEntity(format!("Policy {arn} does not exist or is not attachable."));
    world.in_force(arn).map(|_| ()).ok_or_else(missing)
}

/// Checks an ARN's form.
///
/// # Errors
/// `InvalidInput`.
pub fn valid_arn(arn: &str) -> Result<(), Error> {
    match names::is_arn(arn) {
        true => Ok(()),
        false => Err(Error::InvalidInput(format!("ARN {arn} is not valid."))),
    }
}

/// The tags of a request.
///
/// # Errors
/// `InvalidInput` for a key that comes twice or is AWS's.
pub fn tags(given: Vec<Tag>) -> Result<Tags, Error> {
    let mut tags = Tags::with_capacity(given.len());
    for Tag { key, value } in given {
        if key.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("aws:")) {
            return Err(Error::InvalidInput("Tag keys beginning with 'aws:' are reserved for system use.".to_owned()));
        }
        if tags.iter().any(|(held, _)| held.eq_ignore_ascii_case(&key)) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(Error::InvalidInput(text.to_owned()));
        }
        tags.push((key, value));
    }
    Ok(tags)
}

/// Adds tags to those that are there; keys compare without case and take the new spelling.
///
/// # Errors
/// `LimitExceeded`.
pub fn add_tags(held: &mut Tags, given: &[(String, String)]) -> Result<(), Error> {
    for (key, value) in given {
        match held.iter_mut().find(|(k, _)| k.eq_ignore_ascii_case(key)) {
            Some(tag) => *tag = (key.clone(), value.clone()),
            None => held.push((key.clone(), value.clone())),
        }
    }
    match held.len() {
        0..=TAGS_MAX => Ok(()),
        _ => Err(Error::Limit("The number of tags has reached the maximum limit.".to_owned())),
    }
}

/// Removes tags by key; keys that are not there are fine.
pub fn remove_tags(held: &mut Tags, keys: &[String]) {
    held.retain(|(key, _)| !keys.iter().any(|k| k.eq_ignore_ascii_case(key)));
}

/// One page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; none on the last page.
    pub marker: Option<String>,
}

impl<T> Page<T> {
    /// Whether there is a next page.
    #[must_use]
    pub fn is_truncated(&self) -> Option<bool> {
        Some(self.marker.is_some())
    }
}

/// Cuts a page out of items that come in the order of their keys. The marker is the last key of the page before.
///
/// # Errors
/// `ValidationError` for a marker that was never given out.
pub fn page<T>(
    items: impl Iterator<Item = (String, T)>,
    marker: Option<&str>,
    items_max: Option<i32>,
) -> Result<Page<T>, Error> {
    let after = marker.map(read_marker).transpose()?;
    let limit = items_max.and_then(|n| usize::try_from(n).ok()).unwrap_or(PAGE_DEFAULT).clamp(1, 1_000);
    let mut rest = items.filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
    let mut last = None;
    let mut page = Vec::new();
    for (key, item) in rest.by_ref().take(limit) {
        page.push(item);
        last = Some(key);
    }
    let marker = last.filter(|_| rest.next().is_some()).map(|key| URL_SAFE_NO_PAD.encode(key));
    Ok(Page { items: page, marker })
}

fn read_marker(marker: &str) -> Result<String, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Error::Validation("Invalid Marker.".to_owned()))
}

/// A path that was left out is `/`.
#[must_use]
pub fn path(given: Option<String>) -> String {
    given.unwrap_or_else(|| "/".to_owned())
}

/// IAM's own words for names and paths with wrong characters; lengths and the rest keep the model's words.
#[must_use]
pub fn wrong_characters(member: &str, value: &str) -> Option<String> {
    let (length_max, is_path) = match member {
        "RoleName" => (64, false),
        "UserName" | "NewUserName" | "PolicyName" => (128, false),
        "Path" | "NewPath" => (512, true),
        _ => return None,
    };
    if !(1..=length_max).contains(&value.chars().count()) {
        return None;
    }
    let shown = member.chars().next().map(|c| c.to_ascii_lowercase()).into_iter().chain(member.chars().skip(1));
    let shown: String = shown.collect();
    if is_path {
        let visible = value.bytes().all(|b| (0x21..0x7f).contains(&b));
        let is_good = value == "/" || (value.len() > 2 && value.starts_with('/') && value.ends_with('/') && visible);
        return (!is_good).then(|| {
            format!(
                "The specified value for {shown} is invalid. It must begin and end with / and contain only alphanumeric \
                 characters and/or / characters."
            )
        });
    }
    let is_good = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
    (!is_good).then(|| {
        format!(
            "The specified value for {shown} is invalid. It must contain only alphanumeric characters and/or the \
             following: +=,.@_-"
        )
    })
}
