//! From records to the API's shapes.

use crate::api;
use crate::model::{Alias, Cors, LayerRef, Phase, Record, Url, Version};
use crate::names::LATEST;
use squall_types::Millis;
use time::OffsetDateTime;
use time::macros::format_description;

/// `2026-01-31T12:00:00.000+0000`, as Lambda prints times.
#[must_use]
pub fn time_text(at: Millis) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000");
    let at =
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&format).unwrap_or_default()
}

/// ARN of a function, with a qualifier where one is given.
#[must_use]
pub fn arn(account: &str, record: &Record, qualifier: Option<&str>) -> String {
    let tail = qualifier.map(|q| format!(":{q}")).unwrap_or_default();
    format!("arn:aws:lambda:{}:{account}:function:{}{tail}", record.region, record.name)
}

/// `FunctionConfiguration`. `qualified` puts the version into the ARN, as answers to qualified requests have it.
#[must_use]
pub fn configuration(
    account: &str,
    record: &Record,
    v: &Version,
    qualifier: Option<&str>,
) -> api::FunctionConfiguration {
    let (state, state_reason, state_code) = match &v.state {
        Phase::Pending => ("Pending", Some("The function is being created.".to_owned()), Some("Creating".to_owned())),
        Phase::Done => ("Active", None, None),
        Phase::Failed(code, reason) => ("Failed", Some(reason.clone()), Some(code.clone())),
    };
    let (update, update_reason, update_code) = match &v.update {
        Phase::Pending => {
            ("InProgress", Some("The function is being created.".to_owned()), Some("Creating".to_owned()))
        }
        Phase::Done => ("Successful", None, None),
        Phase::Failed(code, reason) => ("Failed", Some(reason.clone()), Some(code.clone())),
    };
    // While a function is created, AWS shows no update status.
    let creating = v.state == Phase::Pending;
    let shown = qualifier.or_else(|| (v.version != LATEST).then_some(v.version.as_str()));
    api::FunctionConfiguration {
        function_name: Some(record.name.clone()),
        function_arn: Some(arn(account, record, shown)),
        runtime: Some(v.runtime.clone()),
        role: Some(v.role.clone()),
        handler: Some(v.handler.clone()),
        code_size: i64::try_from(v.code_bytes).ok(),
        description: Some(v.description.clone()),
        timeout: i32::try_from(v.timeout_s).ok(),
        memory_size: i32::try_from(v.memory_mb).ok(),
        last_modified: Some(time_text(Millis(v.modified_ms))),
        code_sha256: Some(v.code_sha256.clone()),
        version: Some(v.version.clone()),
        environment: v.env.clone().map(|env| api::EnvironmentResponse { variables: Some(env), error: None }),
        tracing_config: Some(api::TracingConfigResponse { mode: Some(v.tracing.clone()) }),
        revision_id: Some(v.revision_id.clone()),
        state: Some(state.to_owned()),
        state_reason,
        state_reason_code: state_code,
        last_update_status: (!creating).then(|| update.to_owned()),
        last_update_status_reason: update_reason.filter(|_| !creating),
        last_update_status_reason_code: update_code.filter(|_| !creating),
        layers: (!v.layers.is_empty()).then(|| {
            let one = |l: &LayerRef| api::Layer {
                arn: Some(l.arn.clone()),
                code_size: i64::try_from(l.bytes).ok(),
                ..Default::default()
            };
            v.layers.iter().map(one).collect()
        }),
        package_type: Some("Zip".to_owned()),
        architectures: Some(vec![v.architecture.clone()]),
        ephemeral_storage: i32::try_from(v.tmp_mb).ok().map(|size| api::EphemeralStorage { size }),
        snap_start: Some(api::SnapStartResponse {
            apply_on: Some(if v.snap_start { "PublishedVersions" } else { "None" }.to_owned()),
            optimization_status: Some(if v.is_optimized { "On" } else { "Off" }.to_owned()),
        }),
        runtime_version_config: Some(api::RuntimeVersionConfig {
            runtime_version_arn: Some(runtime_version(&record.region, &v.runtime)),
            error: None,
        }),
        logging_config: Some(api::LoggingConfig {
            log_format: Some(if v.json_log.is_some() { "JSON" } else { "Text" }.to_owned()),
            application_log_level: v.json_log.as_ref().map(|j| j.application.clone()),
            system_log_level: v.json_log.as_ref().map(|j| j.system.clone()),
            log_group: Some(log_group(record, v)),
        }),
        ..Default::default()
    }
}

/// The log group of a version.
#[must_use]
pub fn log_group(record: &Record, v: &Version) -> String {
    v.log_group.clone().unwrap_or_else(|| format!("/aws/lambda/{}", record.name))
}

/// Names the runtime on this host: AWS has an opaque id there; the same runtime always gives the same text.
#[must_use]
pub fn runtime_version(region: &str, runtime: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(runtime.as_bytes());
    let id: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    format!("arn:aws:lambda:{region}::runtime:{id}")
}

/// `AliasConfiguration`.
#[must_use]
pub fn alias(account: &str, record: &Record, name: &str, a: &Alias) -> api::AliasConfiguration {
    api::AliasConfiguration {
        alias_arn: Some(arn(account, record, Some(name))),
        name: Some(name.to_owned()),
        function_version: Some(a.version.clone()),
        description: Some(a.description.clone()),
        routing_config: (!a.weights.is_empty())
            .then(|| api::AliasRoutingConfiguration { additional_version_weights: Some(a.weights.clone()) }),
        revision_id: Some(a.revision_id.clone()),
    }
}

/// CORS as the API has it.
#[must_use]
pub fn cors(c: &Cors) -> api::Cors {
    api::Cors {
        allow_credentials: c.credentials,
        allow_headers: c.headers.clone(),
        allow_methods: c.methods.clone(),
        allow_origins: c.origins.clone(),
        expose_headers: c.expose.clone(),
        max_age: c.max_age_s,
    }
}

/// CORS as it is stored.
#[must_use]
pub fn stored_cors(c: api::Cors) -> Cors {
    Cors {
        credentials: c.allow_credentials,
        headers: c.allow_headers,
        methods: c.allow_methods,
        origins: c.allow_origins,
        expose: c.expose_headers,
        max_age_s: c.max_age,
    }
}

/// ARN of the function that a URL belongs to: qualified for aliases.
#[must_use]
pub fn url_function_arn(account: &str, record: &Record, qualifier: &str) -> String {
    arn(account, record, (qualifier != LATEST).then_some(qualifier))
}

/// `FunctionUrlConfig`.
#[must_use]
pub fn url(account: &str, record: &Record, qualifier: &str, u: &Url, address: &str) -> api::FunctionUrlConfig {
    api::FunctionUrlConfig {
        function_url: address.to_owned(),
        function_arn: url_function_arn(account, record, qualifier),
        creation_time: u.created.clone(),
        last_modified_time: u.modified.clone(),
        cors: u.cors.as_ref().map(cors),
        auth_type: u.auth_type.clone(),
        invoke_mode: u.invoke_mode.clone(),
    }
}
