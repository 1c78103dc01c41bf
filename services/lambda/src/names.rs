//! Function names in their four written forms, and qualifiers.

use crate::error::Error;

/// A function as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Plain name, 1 to 64 characters.
    pub name: String,
    /// Version number, alias or `$LATEST`, by name or parameter.
    pub qualifier: Option<String>,
}

/// `$LATEST`.
pub const LATEST: &str = "$LATEST";

impl Name {
    /// Reads `name`, `name:qualifier`, `account:function:name[:qualifier]` or an ARN, and joins the `Qualifier` parameter.
    ///
    /// # Errors
    /// `ResourceNotFoundException` for another region or account, `InvalidParameterValueException` when both qualifiers
    /// are there and differ, `ValidationException` for other texts.
    pub fn parse(text: &str, qualifier: Option<&str>, region: &str, account: &str) -> Result<Self, Error> {
        let (given_region, given_account, rest) = split(text).ok_or_else(|| Error::bad_name(text))?;
        if given_region.is_some_and(|r| r != region) {
            return Err(Error::WrongRegion { given: given_region.unwrap_or_default().into(), here: region.into() });
        }
        let (name, own) = match rest.split_once(':') {
            Some((name, own)) => (name, Some(own)),
            None => (rest, None),
        };
        if !is_name(name) || own.is_some_and(|q| !is_qualifier(q)) {
            return Err(Error::bad_name(text));
        }
        if given_account.is_some_and(|a| a != account) {
            return Err(Error::no_function(region, given_account.unwrap_or_default(), name, own));
        }
        if let (Some(own), Some(asked)) = (own, qualifier)
            && own != asked
        {
            return Err(Error::invalid(
                "The derived qualifier from the function name does not match the specified qualifier.",
            ));
        }
        Ok(Self { name: name.to_owned(), qualifier: own.or(qualifier).map(str::to_owned) })
    }

    /// The qualifier, or `$LATEST`.
    #[must_use]
    pub fn version(&self) -> &str {
        self.qualifier.as_deref().unwrap_or(LATEST)
    }
}

/// `(region, account, name[:qualifier])`.
fn split(text: &str) -> Option<(Option<&str>, Option<&str>, &str)> {
    if let Some(arn) = text.strip_prefix("arn:") {
        let mut it = arn.splitn(6, ':');
        let (_partition, service, region, account, kind, rest) =
            (it.next()?, it.next()?, it.next()?, it.next()?, it.next()?, it.next()?);
        return (service == "lambda" && kind == "function").then_some((Some(region), Some(account), rest));
    }
    let mut it = text.splitn(3, ':');
    match (it.next()?, it.next(), it.next()) {
        (account, Some("function"), Some(rest)) if is_account(account) => Some((None, Some(account), rest)),
        ("function", Some(rest), None) => Some((None, None, rest)),
        _ => Some((None, None, text)),
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_qualifier(text: &str) -> bool {
    let plain =
        (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    text == LATEST || plain
}

/// A published version's number.
#[must_use]
pub fn version_number(qualifier: &str) -> Option<u32> {
    qualifier.parse().ok().filter(|n| *n > 0 && !qualifier.starts_with(['0', '+']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_written_form_is_understood() {
        let plain = |q: Option<&str>| Ok((String::from("f"), q.map(str::to_owned)));
        type Parsed = Result<(String, Option<String>), &'static str>;
        let cases: [(&str, Option<&str>, Parsed); 10] = [
            ("f", None, plain(None)),
            ("f", Some("1"), plain(Some("1"))),
            ("f:live", None, plain(Some("live"))),
            ("f:live", Some("live"), plain(Some("live"))),
            ("f:live", Some("1"), Err("InvalidParameterValueException")),
            ("function:f", None, plain(None)),
            ("000000000000:function:f:$LATEST", None, plain(Some("$LATEST"))),
            ("arn:aws:lambda:us-east-1:000000000000:function:f:2", None, plain(Some("2"))),
            ("arn:aws:lambda:eu-west-1:000000000000:function:f", None, Err("ResourceNotFoundException")),
            ("a b", None, Err("ValidationException")),
        ];
        for (text, qualifier, expected) in cases {
            let found = Name::parse(text, qualifier, "us-east-1", "000000000000")
                .map(|n| (n.name, n.qualifier))
                .map_err(|e| squall_protocol::ServiceError::from(e).code);
            assert_eq!(found, expected, "{text}");
        }
    }
}
