//! `[resilience]`

use confique::Config;

/// The `[resilience]` section.
#[derive(Debug, Clone, Config)]
pub struct ResilienceConfig {}
