//! `[cache]`

use confique::Config;

/// The `[cache]` section.
#[derive(Debug, Clone, Config)]
pub struct CacheConfig {}
