//! Panics reach the log like everything else.

use std::panic::{self, PanicHookInfo};

use tracing::error;

/// Writes every panic to the log as one line, instead of the bare text on standard error. Called once, by `main`'s
/// commands; tests keep the harness's own report.
pub fn log_panics() {
    panic::set_hook(Box::new(report));
}

fn report(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("(no message)");
    error!(%location, message_text = message, "a task panicked");
}
