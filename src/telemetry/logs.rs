//! Log lines on standard error: standard output belongs to what a command prints.

use std::io::{self, IsTerminal};

use tracing::Metadata;
use tracing_subscriber::{EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, TelemetryConfig};

/// The SDK of MCP logs messages, arguments and whole URLs as they come. What it has to tell is told by those who use it.
fn is_discreet(line: &Metadata<'_>) -> bool {
    !line.target().starts_with("rmcp")
}

pub(super) fn start(config: &TelemetryConfig) {
    // The configuration was checked; a filter that cannot be read all the same must not silence the log.
    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
        // Colours only where they show; the library itself heeds NO_COLOR.
        LogFormat::Pretty if io::stderr().is_terminal() => lines.boxed(),
        LogFormat::Pretty => lines.with_ansi(false).boxed(),
    };
    // Fails when a test has a subscriber already; its choice stands.
    let _ = tracing_subscriber::registry().with(filter).with(filter_fn(is_discreet)).with(lines).try_init();
}
