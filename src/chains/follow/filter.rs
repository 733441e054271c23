//! Which events somebody wants of a chain.

use std::sync::Arc;

use crate::{
    chains::{Chain, ChainFamily, evm::log::LogFilter},
    model::{FieldError, stable_hash},
};

/// Which events somebody wants of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// The logs of an EVM chain.
    pub logs: LogFilter,
    /// On Solana the account that transactions mention.
    pub account: Option<String>,
}

/// A filter in the terms of the chain's family.
pub(super) enum Wish {
    Logs(LogFilter),
    Account(Arc<str>),
}

impl EventFilter {
    /// The filter in the terms of the chain's family, or everything that is wrong with it.
    pub(super) fn wish(&self, chain: &Chain) -> Result<Wish, Vec<FieldError>> {
        let wrong = |field: &str, message: &str| FieldError::new(&["filter", field], message);
        let mut problems = Vec::new();
        let wish = match chain.family() {
            ChainFamily::Evm => {
                problems.extend(self.logs.problems());
                problems.extend(self.account.as_ref().map(|_| wrong("account", "is for Solana only")));
                Wish::Logs(self.logs.clone())
            }
            ChainFamily::Solana => {
                let LogFilter { addresses, topics } = &self.logs;
                problems.extend((!addresses.is_empty()).then(|| wrong("addresses", "are for EVM chains only")));
                problems.extend((!topics.is_empty()).then(|| wrong("topics", "are for EVM chains only")));
                let account = self.account.as_deref().ok_or("must be an address");
                let account = account.and_then(|text| chain.family().address(text));
                Wish::Account(account.unwrap_or_else(|problem| {
                    problems.push(wrong("account", problem));
                    Arc::default()
                }))
            }
        };
        if problems.is_empty() { Ok(wish) } else { Err(problems) }
    }
}

impl Wish {
    /// A name of it for a chain, which is in its cursors.
    pub(super) fn fingerprint(&self, chain: &str) -> u64 {
        match self {
            Self::Logs(filter) => filter.fingerprint(chain),
            Self::Account(account) => stable_hash(format!("{chain} {account}").as_bytes()),
        }
    }
}
