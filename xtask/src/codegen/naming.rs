//! Names: from the models' camel case to Rust's.

/// Rust keywords that may be written raw (`r#type`).
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Keywords that cannot be written raw.
const NEVER_RAW: &[&str] = &["self", "super", "crate"];

/// Type names that generated code uses itself.
const TAKEN: &[&str] = &[
    "Api",
    "BTreeMap",
    "Box",
    "Bytes",
    "Ctx",
    "Err",
    "FromValue",
    "IntoValue",
    "Millis",
    "None",
    "Ok",
    "Operation",
    "Option",
    "Protocol",
    "Result",
    "Self",
    "Send",
    "Service",
    "ServiceError",
    "Some",
    "String",
    "Sync",
    "Value",
    "Vec",
];

/// Snake case: `SSESpecification` → `sse_specification`, `CodeSha256` → `code_sha256`, `LayerArns` → `layer_arns`.
pub fn snake(name: &str) -> String {
    let name = name.trim_start_matches('_').replace("IPv", "Ipv");
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, &c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            if !out.ends_with('_') {
                out.push('_');
            }
            continue;
        }
        if c.is_ascii_uppercase() && i > 0 && !out.ends_with('_') {
            let before = chars[i - 1];
            let after = chars.get(i + 1).copied().unwrap_or('\0');
            // `ARNs` and `URLs` are one word: an `s` that ends a run of capitals is a plural.
            let plural = after == 's' && chars.get(i + 2).is_none_or(|c| c.is_ascii_uppercase());
            if !before.is_ascii_uppercase() || (after.is_ascii_lowercase() && !plural) {
                out.push('_');
            }
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A field's or function's name, raw where it is a keyword.
pub fn ident(name: &str) -> String {
    let s = snake(name);
    if KEYWORDS.contains(&s.as_str()) {
        format!("r#{s}")
    } else if NEVER_RAW.contains(&s.as_str()) || s.starts_with(|c: char| c.is_ascii_digit()) {
        format!("{s}_")
    } else {
        s
    }
}

/// A static's name.
pub fn screaming(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// A type's name: the model's, without leading underscores and with a capital; `Shape` is appended where the name is taken.
pub fn type_name(name: &str) -> String {
    let trimmed = name.trim_start_matches('_');
    let mut chars = trimmed.chars();
    let mut out: String = chars.next().map(|c| c.to_ascii_uppercase()).into_iter().collect();
    out.push_str(chars.as_str());
    if TAKEN.contains(&out.as_str()) {
        out.push_str("Shape");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_rust_names() {
        for (from, to) in [
            ("PutItem", "put_item"),
            ("SSESpecification", "sse_specification"),
            ("KMSMasterKeyId", "kms_master_key_id"),
            ("CodeSha256", "code_sha256"),
            ("SHA256Hash", "sha256_hash"),
            ("restApiId", "rest_api_id"),
            ("__listOfApi", "list_of_api"),
            ("Ipv6AllowedForDualStack", "ipv6_allowed_for_dual_stack"),
            ("IPv6CidrBlock", "ipv6_cidr_block"),
            ("LayerARNs", "layer_arns"),
            ("ARNsToAdd", "arns_to_add"),
            ("NULL", "null"),
            ("MD5OfBody", "md5_of_body"),
            ("x-amz-date", "x_amz_date"),
        ] {
            assert_eq!(snake(from), to, "{from}");
        }
        assert_eq!(ident("Type"), "r#type");
        assert_eq!(ident("Self"), "self_");
        assert_eq!(screaming("AttributeValue"), "ATTRIBUTE_VALUE");
        assert_eq!(type_name("__listOfApi"), "ListOfApi");
        assert_eq!(type_name("Api"), "ApiShape");
    }
}
