//! `[audit]`: the record of who did what.

use confique::Config;

use super::Problem;

/// The audit log.
#[derive(Debug, Clone, Config)]
pub struct AuditConfig {
    /// Seconds between two signed checkpoints, 1 to 86400. What was recorded since the last one can be cut off unnoticed.
    #[config(env = "TIDEGATE_AUDIT_CHECKPOINT_SECONDS", default = 60)]
    pub checkpoint_seconds: u64,
}

impl AuditConfig {
    /// The section with every setting at its default.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// The settings that the start refuses.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let good = (1..=86_400).contains(&self.checkpoint_seconds);
        Problem::unless(good, "audit.checkpoint_seconds", &self.checkpoint_seconds, "1 to 86400").into_iter().collect()
    }
}
