//! `[telemetry]`

use confique::Config;

/// The `[telemetry]` section.
#[derive(Debug, Clone, Config)]
pub struct TelemetryConfig {}
