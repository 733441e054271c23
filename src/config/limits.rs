//! `[limits]`

use confique::Config;

/// The `[limits]` section.
#[derive(Debug, Clone, Config)]
pub struct LimitsConfig {}
