//! AWS's common managed policies by name, so that roles and deploy tools that attach them work unchanged.
//!
//! Names, paths, ARNs and what each policy permits are AWS's; the documents are our own wording and keep to services that
//! exist here. Known differences: `ReadOnlyAccess` and `ViewOnlyAccess` permit by verb (`Get*`, `List*`, `Describe*` …)
//! where AWS lists thousands of actions; console-only permissions are left out; ids are made from the name.

mod functions;
mod general;
mod services;

use std::sync::{Arc, OnceLock};

use crate::document::{DocumentKind, Policy};

/// One managed policy of AWS.
#[derive(Debug)]
pub struct Managed {
    /// Name, such as `AWSLambdaBasicExecutionRole`.
    pub name: &'static str,
    /// Path, such as `/service-role/`.
    pub path: &'static str,
    /// `arn:aws:iam::aws:policy` + path + name.
    pub arn: &'static str,
    /// The default version, such as `v1`.
    pub default_version_id: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// The document of the default version, as JSON.
    pub document: &'static str,
    compiled: OnceLock<Arc<Policy>>,
}

impl Managed {
    /// The document, compiled on first use.
    ///
    /// # Panics
    /// Never: a test compiles every document of this module.
    pub fn policy(&self) -> Arc<Policy> {
        let compile = || Policy::parse(self.document, DocumentKind::Managed).expect("the tests compile every document");
        Arc::clone(self.compiled.get_or_init(|| Arc::new(compile())))
    }

    /// The policy's unique id: `ANPA` and 17 characters that follow from the name.
    #[must_use]
    pub fn id(&self) -> String {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let hash =
            |seed: u64| self.name.bytes().fold(seed, |sum, b| (sum ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        let (first, second) = (hash(0xcbf2_9ce4_8422_2325), hash(0x8422_2325_cbf2_9ce4));
        let letters = (0..9).map(|i| first >> (i * 5 + 13)).chain((0..8).map(|i| second >> (i * 5 + 13)));
        let letters = letters.map(|bits| char::from(ALPHABET[(bits % 32) as usize]));
        "ANPA".chars().chain(letters).collect()
    }
}

/// All policies, by groups.
pub fn all() -> impl Iterator<Item = &'static Managed> {
    general::ALL.iter().chain(functions::ALL.iter()).chain(services::ALL.iter())
}

/// A policy by its ARN or, where no ARN is given, by its name.
#[must_use]
pub fn find(arn_or_name: &str) -> Option<&'static Managed> {
    if arn_or_name.starts_with("arn:") {
        all().find(|policy| policy.arn == arn_or_name)
    } else {
        all().find(|policy| policy.name == arn_or_name)
    }
}

/// One row: path, name, version, description, statements.
macro_rules! policy {
    ($path:literal, $name:literal, $version:literal, $description:literal, $($statements:expr),+ $(,)?) => {
        $crate::managed::Managed {
            name: $name,
            path: $path,
            arn: concat!("arn:aws:iam::aws:policy", $path, $name),
            default_version_id: $version,
            description: $description,
            document: concat!(r#"{"Version":"2012-10-17","Statement":["#, $($statements),+, "]}"),
            compiled: std::sync::OnceLock::new(),
        }
    };
}
use policy;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::context::{Context, Principal, Request};
    use crate::evaluate::{PolicySets, evaluate};

    #[test]
    fn every_policy_compiles_and_is_found_by_name_and_arn() {
        let (mut names, mut ids) = (HashSet::new(), HashSet::new());
        for policy in all() {
            if let Err(error) = Policy::parse(policy.document, DocumentKind::Managed) {
                panic!("{}: {error}: {}", policy.name, policy.document);
            }
            assert!(crate::document::size(policy.document) <= 6144, "{}", policy.name);
            assert!(names.insert(policy.name), "{} twice", policy.name);
            assert!(ids.insert(policy.id()) && policy.id().len() == 21, "{}", policy.id());
            let by_arn = find(policy.arn).map(|found| found.name);
            assert_eq!((by_arn, find(policy.name).map(|found| found.arn)), (Some(policy.name), Some(policy.arn)));
        }
        assert!(find("NoSuchPolicy").is_none() && find("arn:aws:iam::aws:policy/AWSLambdaRole").is_none());
    }

    #[test]
    fn policies_permit_what_their_names_say() {
        const LOGS: &str = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/f:*";
        const TABLE: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/t";
        let cases = [
            ("AdministratorAccess", "iam:CreateUser", "*", true),
            ("PowerUserAccess", "iam:CreateUser", "*", false),
            ("PowerUserAccess", "dynamodb:PutItem", TABLE, true),
            ("ReadOnlyAccess", "dynamodb:GetItem", TABLE, true),
            ("ReadOnlyAccess", "dynamodb:PutItem", TABLE, false),
            ("ReadOnlyAccess", "lambda:InvokeFunction", "*", false),
            ("AWSLambdaBasicExecutionRole", "logs:PutLogEvents", LOGS, true),
            ("AWSLambdaBasicExecutionRole", "dynamodb:GetItem", TABLE, false),
            ("AmazonDynamoDBReadOnlyAccess", "dynamodb:Query", TABLE, true),
            ("AmazonDynamoDBReadOnlyAccess", "dynamodb:DeleteItem", TABLE, false),
            ("AmazonDynamoDBFullAccess", "dynamodb:DeleteItem", TABLE, true),
            ("AWSLambdaSQSQueueExecutionRole", "sqs:DeleteMessage", "arn:aws:sqs:us-east-1:123456789012:q", true),
            (
                "AmazonAPIGatewayInvokeFullAccess",
                "execute-api:Invoke",
                "arn:aws:execute-api:us-east-1:123456789012:a/p/GET/",
                true,
            ),
            ("IAMReadOnlyAccess", "iam:ListRoles", "*", true),
            ("IAMReadOnlyAccess", "iam:CreateRole", "*", false),
        ];
        let principal = Principal::user("arn:aws:iam::123456789012:user/ana", "AIDAEXAMPLE");
        let context = Context::new();
        for (name, action, resource, want) in cases {
            let identity = [find(name).expect(name).policy()];
            let request = Request { principal: &principal, action, resource, context: &context };
            let sets = PolicySets { identity: &identity, ..PolicySets::default() };
            assert_eq!(evaluate(&request, &sets).is_allowed(), want, "{name} {action}");
        }
    }

    #[test]
    fn passing_roles_is_bound_to_the_service() {
        let identity = [find("AWSLambda_FullAccess").expect("known").policy()];
        let principal = Principal::user("arn:aws:iam::123456789012:user/ana", "AIDAEXAMPLE");
        for (service, want) in [("lambda.amazonaws.com", true), ("ec2.amazonaws.com", false)] {
            let context = Context::new().with("iam:PassedToService", service);
            let resource = "arn:aws:iam::123456789012:role/r";
            let request = Request { principal: &principal, action: "iam:PassRole", resource, context: &context };
            let sets = PolicySets { identity: &identity, ..PolicySets::default() };
            assert_eq!(evaluate(&request, &sets).is_allowed(), want, "{service}");
        }
    }
}
