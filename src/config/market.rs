//! `[market]`

use confique::Config;

/// The `[market]` section.
#[derive(Debug, Clone, Config)]
pub struct MarketConfig {}
