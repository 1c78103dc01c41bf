//! Amazon Resource Names.

use std::fmt;
use std::str::FromStr;

/// `arn:partition:service:region:account:resource`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arn {
    /// `aws` here; others are read but never made.
    pub partition: String,
    /// Service name as in ARNs, such as `lambda`.
    pub service: String,
    /// Empty for global services.
    pub region: String,
    /// Empty where the resource has no account in its name.
    pub account: String,
    /// Everything after the fifth colon.
    pub resource: String,
}

/// The text is not an ARN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an ARN: {0}")]
pub struct ArnError(pub String);

impl Arn {
    /// An ARN in the `aws` partition.
    #[must_use]
    pub fn new(service: &str, region: &str, account: &str, resource: &str) -> Self {
        Self {
            partition: "aws".into(),
            service: service.into(),
            region: region.into(),
            account: account.into(),
            resource: resource.into(),
        }
    }

    /// The resource without its type prefix: `function:name` gives `name`, `role/path/name` gives `path/name`.
    #[must_use]
    pub fn resource_id(&self) -> &str {
        match self.resource.find([':', '/']) {
            Some(at) => &self.resource[at + 1..],
            None => &self.resource,
        }
    }
}

impl FromStr for Arn {
    type Err = ArnError;

    fn from_str(s: &str) -> Result<Self, ArnError> {
        let mut it = s.splitn(6, ':');
        let mut next = || it.next().map(str::to_owned).ok_or_else(|| ArnError(s.to_owned()));
        if next()? != "arn" {
            return Err(ArnError(s.to_owned()));
        }
        Ok(Self { partition: next()?, service: next()?, region: next()?, account: next()?, resource: next()? })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_reads_and_prints_the_same() {
        let text = "arn:aws:lambda:us-east-1:000000000000:function:hello:1";
        let arn: Arn = text.parse().expect("valid");
        assert_eq!(arn.to_string(), text);
        assert_eq!(arn.resource_id(), "hello:1");
        assert!("lambda:x".parse::<Arn>().is_err());
        assert!("arn:aws:x".parse::<Arn>().is_err());
    }
}
