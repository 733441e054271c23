//! What the server says about itself: log lines on standard error and metrics for Prometheus.
//!
//! Owns the one log subscriber, the one metrics recorder and the table of every metric's name. It never decides what
//! is worth saying: rooms use the macros of `tracing` and `metrics` where things happen. A new metric is a line in
//! `metrics.rs`; a test of the repository compares that table with the names in the source.

mod logs;
mod metrics;
mod panics;
mod process;

use std::{sync::OnceLock, thread, time::Duration};

use ::metrics::set_global_recorder;
use metrics_exporter_prometheus::PrometheusHandle;

pub use self::{
    metrics::{METRICS, Metric, MetricKind},
    panics::log_panics,
};
use crate::config::TelemetryConfig;

/// How often samples of histograms are gathered when nobody asks for them, so that they do not pile up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The process's metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry(Recording);

#[derive(Debug, Clone)]
enum Recording {
    /// Metrics are off: nothing is recorded.
    Off,
    /// Metrics are kept for Prometheus.
    Prometheus(PrometheusHandle),
}

/// Starts logging and, if configured, recording. It belongs before everything that holds a metric's handle, as handles
/// made earlier record nothing. The process has one of each: later calls change nothing and return the first.
pub fn init(config: &TelemetryConfig) -> Telemetry {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    TELEMETRY
        .get_or_init(|| {
            logs::start(config);
            Telemetry(if config.metrics { record() } else { Recording::Off })
        })
        .clone()
}

impl Telemetry {
    /// Every metric as Prometheus reads it (text format 0.0.4); empty when metrics are off.
    #[must_use]
    pub fn render(&self) -> String {
        match &self.0 {
            Recording::Off => String::new(),
            Recording::Prometheus(handle) => {
                process::measure();
                handle.render()
            }
        }
    }
}

fn record() -> Recording {
    let recorder = metrics::recorder();
    let handle = recorder.handle();
    if set_global_recorder(recorder).is_err() {
        return Recording::Off;
    }
    metrics::describe();
    process::announce();
    let upkeep = handle.clone();
    let keep = move || {
        loop {
            thread::sleep(UPKEEP_INTERVAL);
            upkeep.run_upkeep();
        }
    };
    // Without the thread the samples are still gathered, at every scrape.
    let _ = thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(keep);
    Recording::Prometheus(handle)
}

#[cfg(test)]
mod tests {
    use ::metrics::histogram;

    use super::*;

    #[test]
    fn what_was_recorded_is_rendered_with_its_description_and_buckets() {
        let telemetry = init(&TelemetryConfig::defaults());
        let again = init(&TelemetryConfig::defaults());
        histogram!("tidegate_http_request_seconds", "route" => "test").record(0.003);
        let page = again.render();
        assert_eq!(telemetry.render().contains("route=\"test\""), page.contains("route=\"test\""));
        for line in [
            "# TYPE tidegate_http_request_seconds histogram",
            "tidegate_http_request_seconds_bucket{route=\"test\",le=\"0.0025\"} 0",
            "tidegate_http_request_seconds_bucket{route=\"test\",le=\"0.005\"} 1",
            "# HELP tidegate_build_info ",
            "# TYPE process_start_time_seconds gauge",
        ] {
            assert!(page.contains(line), "no {line:?} in\n{page}");
        }
        #[cfg(target_os = "linux")]
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total"] {
            assert!(page.lines().any(|line| line.starts_with(&format!("{name} "))), "no {name} in\n{page}");
        }
    }
}
