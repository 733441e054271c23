//! Tokens by their addresses, as contracts and mints tell of themselves.

use std::{borrow::Cow, sync::Arc};

use crate::{
    cache::{CacheKey, CacheValue},
    model::{ChainId, Token},
};

/// A token by its chain and address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey(pub(super) ChainId, pub(super) Arc<str>);

impl CacheKey for TokenKey {
    fn shared_name(&self) -> Cow<'_, str> {
        format!("{}/{}", self.0, self.1).into()
    }
}

impl CacheValue for Arc<Token> {
    fn weight(&self) -> u32 {
        u32::try_from(size_of::<Token>() + 96).unwrap_or(u32::MAX)
    }
}
