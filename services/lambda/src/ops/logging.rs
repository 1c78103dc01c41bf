//! `LoggingConfig`: the group, and JSON logs with their levels.

use crate::api::LoggingConfig;
use crate::error::Error;
use crate::model::JsonLog;

/// Level where none is given.
const LEVEL: &str = "INFO";

type Held<'a> = (&'a Option<String>, &'a Option<JsonLog>);

/// What a function is to have, from what it has and what is asked for: what is not named stays.
///
/// # Errors
/// `InvalidParameterValueException` for levels of logs in text form.
pub fn read(config: Option<LoggingConfig>, held: Option<Held<'_>>) -> Result<(Option<String>, Option<JsonLog>), Error> {
    let (held_group, held_json) = held.map(|(g, j)| (g.clone(), j.clone())).unwrap_or_default();
    let Some(config) = config else { return Ok((held_group, held_json)) };
    let group = match config.log_group {
        Some(group) => Some(group).filter(|g| !g.is_empty()),
        None => held_group,
    };
    let is_json = config.log_format.as_deref().map_or(held_json.is_some(), |format| format == "JSON");
    let (application, system) = (config.application_log_level, config.system_log_level);
    if !is_json {
        if application.is_some() || system.is_some() {
            return Err(Error::invalid(
                "LogLevel is not supported when LogFormat is set to \"Text\". Remove LogLevel from your request or change the \
                 LogFormat to \"JSON\" and try again.",
            ));
        }
        return Ok((group, None));
    }
    let held = held_json.unwrap_or(JsonLog { application: LEVEL.into(), system: LEVEL.into() });
    let json = JsonLog { application: application.unwrap_or(held.application), system: system.unwrap_or(held.system) };
    Ok((group, Some(json)))
}
