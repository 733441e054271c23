//! `[telemetry]`: what the server says about itself.

use confique::Config;
use serde::{Deserialize, Serialize};

use super::Problem;

/// What the server says about itself.
#[derive(Debug, Clone, Config)]
pub struct TelemetryConfig {
    /// How log lines look on standard error: `pretty` for people, `json` for machines.
    #[config(env = "TIDEGATE_TELEMETRY_LOG_FORMAT", default = "pretty")]
    pub log_format: LogFormat,

    /// Which log lines appear: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module such as
    /// `info,tidegate=debug`.
    #[config(env = "TIDEGATE_TELEMETRY_LOG_FILTER", default = "info")]
    pub log_filter: String,

    /// Serves Prometheus metrics at `/metrics`.
    #[config(env = "TIDEGATE_TELEMETRY_METRICS", default = true)]
    pub metrics: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Coloured lines for people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl TelemetryConfig {
    /// The section as it is when nobody sets anything.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let valid = tracing_subscriber::EnvFilter::try_new(&self.log_filter).is_ok();
        let expected = "a level such as info, or levels by module such as info,tidegate=debug";
        Problem::unless(valid, "telemetry.log_filter", &self.log_filter, expected).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_a_problem() {
        let mut config = TelemetryConfig::defaults();
        assert_eq!(config.problems(), []);
        config.log_filter = "tidegate=loud".into();
        assert_eq!(config.problems()[0].key, "telemetry.log_filter");
    }
}
