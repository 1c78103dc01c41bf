//! Where services of one protocol differ on the wire. The only place of this crate that tells services apart by name; a new
//! service needs a line here only when recorded answers of AWS show a difference.

use crate::Value;
use crate::schema::{Service, Shape};

/// How a service words what is wrong with the JSON it got: AWS has two generations of its JSON reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wording {
    /// "NUMBER_VALUE cannot be converted to String".
    Tokens,
    /// "class java.lang.Boolean can not be converted to an String".
    Classes,
}

/// The service's wording of serialization errors.
pub(crate) fn wording(service: &Service) -> Wording {
    if is_dynamodb(service) { Wording::Tokens } else { Wording::Classes }
}

/// The Java package of the service's types, which some serialization errors name.
pub(crate) fn java_package(service: &Service) -> &'static str {
    if is_dynamodb(service) { "com.amazonaws.dynamodb.v20120810." } else { "" }
}

/// What stands before an error's code in `__type`, up to and with `#`. SDKs drop it.
pub(crate) fn error_namespace(service: &Service, code: &str) -> &'static str {
    match code {
        "SerializationException" | "UnknownOperationException" => "com.amazon.coral.service#",
        _ if !is_dynamodb(service) => "",
        "ValidationException" => "com.amazon.coral.validate#",
        "AccessDeniedException"
        | "ExpiredTokenException"
        | "IncompleteSignatureException"
        | "InternalFailure"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "NotImplementedException"
        | "ServiceUnavailable"
        | "UnrecognizedClientException" => "com.amazon.coral.service#",
        _ => "com.amazonaws.dynamodb.v20120810#",
    }
}

/// Answers carry `x-amz-crc32`, which the service's SDK clients verify.
pub(crate) fn has_checksum(service: &Service) -> bool {
    is_dynamodb(service)
}

/// An empty body counts as `{}`. DynamoDB refuses it; others have old clients that send none for operations without members.
pub(crate) fn takes_empty_body(service: &Service) -> bool {
    !is_dynamodb(service)
}

/// The error element of rest-xml stands alone, without `ErrorResponse` around it.
pub(crate) fn has_bare_error(service: &Service) -> bool {
    service.name == "s3"
}

/// Booleans may be `"yes"` and `"no"`.
pub(crate) fn takes_yes(service: &Service) -> bool {
    is_dynamodb(service)
}

/// The order in which a service's messages list an enum's members: that of a hash set of its own, known for the sets that
/// clients meet.
pub(crate) fn enum_order(service: &Service, options: &'static [&'static str]) -> &'static [&'static str] {
    const KNOWN: [&[&str]; 10] = [
        &["SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"],
        &["ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"],
        &[
            "IN",
            "NULL",
            "BETWEEN",
            "LT",
            "NOT_CONTAINS",
            "EQ",
            "GT",
            "NOT_NULL",
            "NE",
            "LE",
            "BEGINS_WITH",
            "GE",
            "CONTAINS",
        ],
        &["OR", "AND"],
        &["INDEXES", "TOTAL", "NONE"],
        &["SIZE", "NONE"],
        &["DELETE", "ADD", "PUT"],
        &["B", "N", "S"],
        &["ALL", "INCLUDE", "KEYS_ONLY"],
        &["PROVISIONED", "PAY_PER_REQUEST"],
    ];
    let same = |known: &&&[&str]| known.len() == options.len() && known.iter().all(|k| options.contains(k));
    if is_dynamodb(service) { KNOWN.iter().find(same).copied().unwrap_or(options) } else { options }
}

fn is_dynamodb(service: &Service) -> bool {
    matches!(service.name, "dynamodb" | "dynamodbstreams")
}

/// Messages about values that are no member of an enum name neither the value nor the set.
pub(crate) fn hides_enums(service: &Service) -> bool {
    service.name == "iam"
}

/// What stands before the members of the body in the paths of validation messages: API Gateway keeps them in a structure of their own.
pub(crate) fn input_prefix(service: &Service, input: &Shape) -> Option<String> {
    if service.name != "apigateway" {
        return None;
    }
    let name = input.name.strip_suffix("Request").or_else(|| input.name.strip_suffix("Input"))?;
    let (first, rest) = name.split_at_checked(1)?;
    Some(format!("{}{rest}Input.", first.to_ascii_lowercase()))
}

/// Shortest and longest name of a table, and its pattern.
pub(crate) const TABLE_NAME: (u64, u64, &str) = (3, 255, "[a-zA-Z0-9_.-]+");

/// Where the model takes a table's name or its ARN, DynamoDB still checks a name as it did before there were ARNs there.
pub(crate) fn is_name_or_arn(shape: &Shape) -> bool {
    shape.name == "TableArn"
}

/// What is wrong with an input before any constraint is looked at: DynamoDB asks for the table's name first.
pub(crate) fn foremost(service: &Service, input: &Shape, value: &Value) -> Option<String> {
    if !is_dynamodb(service) {
        return None;
    }
    let (index, member) = (0_u16..).zip(input.members()).find(|(_, m)| m.name == "TableName" && m.required)?;
    let Some(Value::Str(name)) = value.member(index) else {
        return Some(format!("The parameter '{}' is required but was not present in the request", member.name));
    };
    let (least, most, _) = TABLE_NAME;
    let is_arn = is_name_or_arn(member.shape) && name.starts_with("arn:");
    let fits = is_arn || name.len() as u64 <= most && name.len() as u64 >= least;
    (!fits).then(|| format!("TableName must be at least {least} characters long and at most {most} characters long"))
}

/// Members that the model has made optional for uses that are not served; without those they are asked for as ever.
pub(crate) fn is_required(owner: &Shape, member: &str) -> bool {
    owner.name == "CreateTableInput" && matches!(member, "AttributeDefinitions" | "KeySchema")
}

/// Longest list where the model has none: keys of more than two attributes are for indexes that are not served.
pub(crate) fn list_max(shape: &Shape) -> Option<u64> {
    (shape.name == "KeySchema").then_some(2)
}
