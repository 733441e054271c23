//! From a server's configuration to what is run, or where it is.

use std::{collections::HashMap, ffi::OsString, path::PathBuf, sync::Arc};

use http::{HeaderName, HeaderValue};
use url::Url;

use crate::{
    config::{McpConfig, Secret, ServerEnvironment},
    mcp::{ServerSpec, process::ProcessPlan},
    model::Redactor,
};

/// Shorter values would be found everywhere, and are no secrets.
const SHORTEST_SECRET: usize = 6;

/// How a server is reached, with the secrets that it is given.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// Run by us.
    Child(ProcessPlan),
    /// Somewhere else.
    Http {
        /// Its endpoint.
        url: Url,
        /// What is sent along. Values that come from the environment are marked as secret.
        headers: HashMap<HeaderName, HeaderValue>,
        bearer: Option<Secret>,
    },
}

impl Way {
    /// What the server was given and must not be said again.
    pub(super) fn secrets(&self) -> Redactor {
        match self {
            Self::Child(plan) => plan.secrets.clone(),
            Self::Http { headers, bearer, .. } => {
                let headers = headers.values().filter(|value| value.is_sensitive());
                let headers = headers.filter_map(|value| value.to_str().ok().map(str::to_owned));
                redactor(headers.chain(bearer.iter().map(|bearer| bearer.expose().to_owned())))
            }
        }
    }
}

impl Way {
    /// What a configuration comes to here, or why it cannot be had, in words.
    pub(crate) fn of(spec: &ServerSpec, environment: &ServerEnvironment, config: &McpConfig) -> Result<Self, Arc<str>> {
        match &spec.url {
            Some(url) => Self::http(spec, url.clone(), environment),
            None => Self::child(spec, environment, config),
        }
    }

    fn child(spec: &ServerSpec, environment: &ServerEnvironment, config: &McpConfig) -> Result<Self, Arc<str>> {
        let always = environment.always().map(|(name, value)| (name.to_owned(), value.clone()));
        let mut given: HashMap<String, OsString> = always.collect();
        for name in &spec.env_from {
            given.insert(name.clone(), named(environment, name)?.clone());
        }
        let secrets = spec.env_from.iter().filter_map(|name| environment.named(name)?.clone().into_string().ok());
        given.extend(spec.env.iter().map(|(name, value)| (name.clone(), value.into())));
        Ok(Self::Child(ProcessPlan {
            program: spec.command.clone().unwrap_or_default(),
            arguments: spec.args.clone(),
            environment: given.into_iter().collect(),
            folder: spec.cwd.as_ref().map(PathBuf::from),
            secrets: redactor(secrets),
            memory: (config.max_memory_mb > 0).then_some(config.max_memory_mb << 20),
        }))
    }

    fn http(spec: &ServerSpec, url: Url, environment: &ServerEnvironment) -> Result<Self, Arc<str>> {
        let mut headers = HashMap::new();
        for (name, value) in &spec.headers {
            headers.insert(header_name(name)?, header_value(name, value)?);
        }
        for (name, variable) in &spec.headers_from {
            let mut value = header_value(name, &text(environment, variable)?)?;
            value.set_sensitive(true);
            headers.insert(header_name(name)?, value);
        }
        let bearer = spec.bearer_from.as_ref().map(|variable| text(environment, variable)).transpose()?;
        Ok(Self::Http { url, headers, bearer: bearer.map(Secret::from) })
    }
}

/// Of those that are long enough to be a secret.
fn redactor(given: impl Iterator<Item = String>) -> Redactor {
    given.filter(|value| value.len() >= SHORTEST_SECRET).collect()
}

fn named<'a>(environment: &'a ServerEnvironment, name: &str) -> Result<&'a OsString, Arc<str>> {
    let missing = || format!("the variable {name} is not set, or mcp.environment does not name it").into();
    environment.named(name).ok_or_else(missing)
}

fn text(environment: &ServerEnvironment, name: &str) -> Result<String, Arc<str>> {
    let value = named(environment, name)?.clone().into_string();
    value.map_err(|_| format!("the variable {name} is no text").into())
}

fn header_name(name: &str) -> Result<HeaderName, Arc<str>> {
    HeaderName::try_from(name).map_err(|_| format!("{name} is no name of a header").into())
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, Arc<str>> {
    HeaderValue::try_from(value).map_err(|_| format!("the header {name} cannot have such a value").into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_too_short_is_no_secret() {
        let given = ["s3cret", "on"].map(str::to_owned);
        assert_eq!(redactor(given.into_iter()).hide("on and on: s3cret"), "on and on: [redacted]");
    }

    #[test]
    fn secrets_come_from_the_environment_and_nowhere_else() {
        let environment: ServerEnvironment = [("KEY".to_owned(), OsString::from("s3cret"))].into_iter().collect();
        let way = |spec: serde_json::Value| {
            let spec = ServerSpec::read(&spec, &[]).unwrap();
            Way::of(&spec, &environment, &McpConfig::defaults())
        };
        let Ok(Way::Child(plan)) = way(json!({"command": "a", "env": {"B": "c"}, "envFrom": ["KEY"]})) else {
            panic!()
        };
        let mut given = plan.environment.clone();
        given.sort();
        assert_eq!(given, [("B".to_owned(), "c".into()), ("KEY".to_owned(), "s3cret".into())]);
        let http = way(json!({"url": "http://a/", "headersFrom": {"X-Team": "KEY"}, "bearerFrom": "KEY"})).unwrap();
        assert!(!format!("{http:?}").contains("s3cret"), "{http:?}");
        for missing in
            [json!({"command": "a", "envFrom": ["OTHER"]}), json!({"url": "http://a/", "bearerFrom": "OTHER"})]
        {
            assert!(way(missing).unwrap_err().contains("OTHER"));
        }
    }
}
