//! Where a request came from, for the audit log.

use std::{net::IpAddr, sync::Arc};

/// Longest user agent that is kept; the rest is cut off.
const LONGEST_USER_AGENT_CHARS: usize = 256;

/// Where a request came from, as far as it says the truth about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The client's address after trusted proxies were peeled off.
    pub address: IpAddr,
    /// What the client calls itself.
    pub user_agent: Option<Arc<str>>,
}

impl Origin {
    /// Takes what the client says of itself, up to 256 characters.
    #[must_use]
    pub fn new(address: IpAddr, user_agent: Option<&str>) -> Self {
        let cut = |text: &str| text.chars().take(LONGEST_USER_AGENT_CHARS).collect::<String>().into();
        Self { address, user_agent: user_agent.map(cut) }
    }
}
