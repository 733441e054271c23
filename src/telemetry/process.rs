//! The process itself, under the names that Prometheus' own clients use.

use metrics::gauge;

use crate::model::Clock;

/// What does not change while the process runs.
pub(super) fn announce() {
    gauge!("tidegate_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in 53 bits")]
    gauge!("process_start_time_seconds").set(Clock::system().now().timestamp_millis() as f64 / 1_000.0);
}

/// What changes, measured now; nothing where the system does not say.
pub(super) fn measure() {
    if let Some(bytes) = linux::resident_memory_bytes() {
        gauge!("process_resident_memory_bytes").set(bytes);
    }
    if let Some(seconds) = linux::cpu_seconds() {
        gauge!("process_cpu_seconds_total").set(seconds);
    }
}

/// Reads `/proc`, which other systems do not have: there every reading is none.
mod linux {
    use std::fs;

    /// The kernel tells times in this unit to every program, whatever it uses inside (`USER_HZ`).
    const TICKS_PER_SECOND: f64 = 100.0;

    pub(super) fn resident_memory_bytes() -> Option<f64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1_024.0)
    }

    pub(super) fn cpu_seconds() -> Option<f64> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses, which may itself hold spaces.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks = |index: usize| fields.split_whitespace().nth(index)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }
}
