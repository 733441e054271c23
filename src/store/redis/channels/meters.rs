//! The figures of all lines together.

use metrics::{Counter, Gauge, counter, gauge};

use super::loss::Loss;

/// Handles of the metrics; clones count together.
#[derive(Clone)]
pub(super) struct Meters {
    /// Channels that somebody in this process reads.
    pub(super) channels: Gauge,
    /// Connections that carry channels.
    pub(super) lines: Gauge,
    /// Messages that slow readers lost.
    pub(super) dropped: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            channels: gauge!("tidegate_redis_channels"),
            lines: gauge!("tidegate_redis_lines"),
            dropped: counter!("tidegate_redis_dropped_messages_total"),
        }
    }

    /// A line that worked was lost.
    pub(super) fn loss(loss: &Loss) {
        counter!("tidegate_redis_line_losses_total", "reason" => loss.label()).increment(1);
    }
}
