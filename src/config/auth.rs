//! `[auth]`

use confique::Config;

/// The `[auth]` section.
#[derive(Debug, Clone, Config)]
pub struct AuthConfig {}
