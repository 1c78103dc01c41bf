//! Pure checks of what a request may set, in AWS's texts.

use crate::error::Error;
use std::collections::BTreeMap;

/// Default of `Timeout`, seconds.
pub const TIMEOUT_DEFAULT_S: u32 = 3;
/// Most of `Timeout`, seconds.
const TIMEOUT_MAX_S: i32 = 900;
/// Most of `MemorySize`, MB.
const MEMORY_MAX_MB: i32 = 10_240;
/// Default of `MemorySize`, MB.
pub const MEMORY_DEFAULT_MB: u32 = 128;
/// Default of `EphemeralStorage`, MB.
pub const TMP_DEFAULT_MB: u32 = 512;
/// Most bytes of all packages in a region: AWS's default quota of 75 GB.
pub const CODE_STORAGE_BYTES_MAX: u64 = 80_530_636_800;
/// Most bytes of all environment variables together.
const ENV_BYTES_MAX: usize = 4096;

/// Runtimes that AWS names today, in the order of its own error text.
const KNOWN: &str = "nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, nodejs22.x, java25, \
                     python3.10, python3.11, java21, ruby3.3, ruby3.4, ruby3.2, python3.8, python3.9, java17, nodejs16.x, \
                     dotnet10, dotnet8, java11, dotnet6, nodejs18.x, provided.al2, java8.al2";

/// Runtimes that AWS once had.
const RETIRED: [&str; 14] = [
    "nodejs",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "python2.7",
    "python3.6",
    "python3.7",
    "ruby2.5",
    "ruby2.7",
    "go1.x",
];
const RETIRED_MORE: [&str; 6] =
    ["provided", "java8", "dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1"];

/// Names that AWS reserves in the environment.
const RESERVED: [&str; 17] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
];

/// A runtime's id is one that AWS has today.
///
/// # Errors
/// AWS's texts for unknown and for retired ones.
pub fn runtime(id: &str) -> Result<(), Error> {
    // AWS has none for WebAssembly: an extension.
    if id == squall_runtime::WASM_RUNTIME || KNOWN.split(", ").any(|k| k == id) {
        return Ok(());
    }
    if RETIRED.contains(&id) || RETIRED_MORE.contains(&id) {
        return Err(Error::invalid(format!(
            "The runtime parameter of {id} is no longer supported for creating or updating AWS Lambda functions. We recommend \
             you use a supported runtime while creating or updating functions."
        )));
    }
    Err(Error::invalid(format!(
        "Value {id} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{KNOWN}] or be a valid ARN"
    )))
}

/// What a layer says that it is for.
///
/// # Errors
/// AWS's text for runtimes and architectures that it does not know.
pub fn compatible(runtimes: Option<&[String]>, architectures: Option<&[String]>) -> Result<(), Error> {
    let is_runtime = |r: &str| KNOWN.split(", ").any(|k| k == r) || RETIRED.contains(&r) || RETIRED_MORE.contains(&r);
    let mut found = Vec::new();
    if let Some(given) = runtimes.filter(|all| !all.iter().all(|r| is_runtime(r))) {
        found.push(format!(
            "Value '[{}]' at 'compatibleRuntimes' failed to satisfy constraint: Member must satisfy enum value set: [{KNOWN}]",
            given.join(", ")
        ));
    }
    if let Some(given) = architectures.filter(|all| !all.iter().all(|a| a == "x86_64" || a == "arm64")) {
        found.push(format!(
            "Value '[{}]' at 'compatibleArchitectures' failed to satisfy constraint: Member must satisfy constraint: [Member must \
             satisfy enum value set: [x86_64, arm64], Member must not be null]",
            given.join(", ")
        ));
    }
    match found.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::Validation(format!("1 validation error detected: {one}"))),
        many => Err(Error::Validation(format!("{} validation errors detected: {}", many.len(), many.join("; ")))),
    }
}

/// `Timeout` and `MemorySize` where they are given. The API's model has looser bounds than functions of this kind.
///
/// # Errors
/// AWS's texts.
pub fn sizes(timeout_s: Option<i32>, memory_mb: Option<i32>) -> Result<(), Error> {
    let given = [("timeout", timeout_s, TIMEOUT_MAX_S), ("memorySize", memory_mb, MEMORY_MAX_MB)];
    for (name, value, most) in given {
        if let Some(value) = value.filter(|v| *v > most) {
            return Err(Error::Validation(format!(
                "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: Member must have value \
                 less than or equal to {most}"
            )));
        }
    }
    Ok(())
}

/// Environment variables: names, reserved names and size.
///
/// # Errors
/// AWS's texts.
pub fn env(env: &BTreeMap<String, String>) -> Result<(), Error> {
    let reserved: Vec<&str> =
        env.keys().map(String::as_str).filter(|k| RESERVED.contains(k) || *k == "LAMBDA_RUNTIME_DIR").collect();
    if !reserved.is_empty() {
        return Err(Error::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided \
             contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    for name in env.keys() {
        let mut bytes = name.bytes();
        let good = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
            && name.len() >= 2
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !good {
            return Err(Error::Validation(format!(
                "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy \
                 constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+] ({name})"
            )));
        }
    }
    if env.values().any(|v| v.contains('\0')) {
        return Err(Error::invalid("Environment variables must not hold a null character"));
    }
    // AWS measures the variables as JSON.
    let bytes = serde_json::to_string(env).map_or(usize::MAX, |s| s.len());
    if bytes > ENV_BYTES_MAX {
        let text = serde_json::to_string(env).unwrap_or_default();
        return Err(Error::invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided \
             exceeded the 4KB limit. String measured: {text}"
        )));
    }
    Ok(())
}

/// A package more fits into what the account may store in a region.
///
/// # Errors
/// `CodeStorageExceededException`.
pub fn storage(held_bytes: u64, more_bytes: u64) -> Result<(), Error> {
    match held_bytes.checked_add(more_bytes) {
        Some(all) if all <= CODE_STORAGE_BYTES_MAX => Ok(()),
        _ => Err(Error::CodeStorage),
    }
}

/// Tags: at most 50, none of AWS's own.
///
/// # Errors
/// AWS's texts.
pub fn tags(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.len() > 50 {
        return Err(Error::invalid("Number of tags exceeds resource tag limit."));
    }
    if tags.keys().any(|k| k.to_ascii_lowercase().starts_with("aws:")) {
        return Err(Error::invalid("aws: prefixed tag key names are not allowed for external use."));
    }
    Ok(())
}

/// Resource policy statements for `AddPermission`.
pub struct Grant<'a> {
    /// Statement id.
    pub sid: &'a str,
    /// Action, such as `lambda:InvokeFunction`.
    pub action: &'a str,
    /// Service, account, ARN or `*`.
    pub principal: &'a str,
    /// ARN of what may be invoked.
    pub resource: &'a str,
    /// Condition on the source's ARN.
    pub source_arn: Option<&'a str>,
    /// Condition on the source's account.
    pub source_account: Option<&'a str>,
    /// Condition on the caller's organisation.
    pub organisation: Option<&'a str>,
    /// Condition on the function URL's auth type.
    pub url_auth: Option<&'a str>,
    /// Condition on calls through a function URL.
    pub via_url: Option<bool>,
    /// Condition on an event source's token.
    pub token: Option<&'a str>,
}

impl Grant<'_> {
    /// The statement as AWS writes it.
    #[must_use]
    pub fn statement(&self) -> serde_json::Value {
        use serde_json::{Map, Value, json};
        let is_account = self.principal.len() == 12 && self.principal.bytes().all(|b| b.is_ascii_digit());
        let principal = match self.principal {
            "*" => json!("*"),
            p if is_account => json!({ "AWS": format!("arn:aws:iam::{p}:root") }),
            p if p.starts_with("arn:") => json!({ "AWS": p }),
            p => json!({ "Service": p }),
        };
        let mut equals = Map::new();
        let pairs = [
            ("AWS:SourceAccount", self.source_account),
            ("aws:PrincipalOrgID", self.organisation),
            ("lambda:FunctionUrlAuthType", self.url_auth),
            ("lambda:EventSourceToken", self.token),
        ];
        for (key, value) in pairs {
            if let Some(value) = value {
                equals.insert(key.into(), json!(value));
            }
        }
        let mut condition = Map::new();
        if !equals.is_empty() {
            condition.insert("StringEquals".into(), Value::Object(equals));
        }
        if let Some(via) = self.via_url {
            condition.insert("Bool".into(), json!({ "lambda:InvokedViaFunctionUrl": via.to_string() }));
        }
        if let Some(arn) = self.source_arn {
            condition.insert("ArnLike".into(), json!({ "AWS:SourceArn": arn }));
        }
        let mut statement = json!({
            "Sid": self.sid, "Effect": "Allow", "Principal": principal, "Action": self.action, "Resource": self.resource,
        });
        if let (Value::Object(s), false) = (&mut statement, condition.is_empty()) {
            s.insert("Condition".into(), Value::Object(condition));
        }
        statement
    }
}

/// A whole policy of those statements.
#[must_use]
pub fn policy_document(statements: &[serde_json::Value]) -> String {
    serde_json::json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_their_bounds() {
        assert!(sizes(Some(900), Some(10_240)).is_ok() && sizes(None, None).is_ok());
        let text = sizes(Some(901), None).expect_err("too long").to_string();
        assert!(text.ends_with("less than or equal to 900"), "{text}");
        assert!(sizes(None, Some(10_241)).is_err());
    }

    #[test]
    fn runtimes_get_awss_texts() {
        assert!(runtime("nodejs20.x").is_ok());
        let text = |id: &str| runtime(id).expect_err(id).to_string();
        assert!(text("go1.x").contains("no longer supported"));
        assert!(
            text("PYTHON3.9")
                .starts_with("Value PYTHON3.9 at 'runtime' failed to satisfy constraint: Member must satisfy")
        );
    }

    #[test]
    fn environments_are_checked() {
        let one = |k: &str, v: &str| env(&BTreeMap::from([(k.to_owned(), v.to_owned())]));
        assert!(one("TABLE", "x").is_ok());
        assert!(one("AWS_REGION", "x").is_err());
        assert!(one("1A", "x").is_err());
        assert!(one("BIG", &"x".repeat(4096)).is_err());
    }

    #[test]
    fn statements_are_written_as_aws_does() {
        let grant = Grant {
            sid: "s",
            action: "lambda:InvokeFunction",
            principal: "apigateway.amazonaws.com",
            resource: "arn:f",
            source_arn: Some("arn:a"),
            source_account: None,
            organisation: None,
            url_auth: None,
            via_url: None,
            token: None,
        };
        let expected = r#"{"Sid":"s","Effect":"Allow","Principal":{"Service":"apigateway.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"arn:f","Condition":{"ArnLike":{"AWS:SourceArn":"arn:a"}}}"#;
        assert_eq!(grant.statement().to_string(), expected);
    }
}
