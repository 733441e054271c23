//! What is on the other side: nothing, Redis, or in tests a model of it.
//!
//! The closed set of places where a tier can be shared; the next one is a variant here. Nothing ever waits longer than
//! its lane's deadline. What each operation must do is told by `contract.rs`, which Redis and its model both pass.

use std::{future::pending, time::Duration};

#[cfg(test)]
use super::model;
use super::redis::RedisTier;
use super::stamp::{Stamp, Table};
use crate::{
    cache::slots::Slot,
    store::{Heard, Listening, RedisError},
};

/// Slots that one script is told at most, so that it does not keep Redis from others.
const SLOTS_AT_ONCE: usize = 1_000;

pub(in crate::cache) enum Remote {
    /// This process is alone.
    None,
    Redis(RedisTier),
    #[cfg(test)]
    Model(model::Link),
}

/// Where bulletins come in.
pub(super) enum Ears {
    Deaf,
    Redis(Listening),
    #[cfg(test)]
    Model(model::Ears),
}

impl Ears {
    pub(super) async fn heard(&mut self) -> Heard {
        match self {
            Self::Deaf => pending().await,
            Self::Redis(listening) => listening.heard().await,
            #[cfg(test)]
            Self::Model(ears) => ears.heard().await,
        }
    }
}

type Answer<T> = Result<T, RedisError>;

impl Remote {
    pub(in crate::cache) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// What a value is called there.
    pub(in crate::cache) fn name(&self, cache: &str, key: &str) -> String {
        match self {
            Self::Redis(tier) => tier.name(cache, key),
            Self::None => format!("{cache}:{key}"),
            #[cfg(test)]
            Self::Model(_) => format!("{cache}:{key}"),
        }
    }

    pub(super) fn listen(&self) -> Ears {
        match self {
            Self::None => Ears::Deaf,
            Self::Redis(tier) => Ears::Redis(tier.listen()),
            #[cfg(test)]
            Self::Model(link) => Ears::Model(link.listen()),
        }
    }

    /// Revokes slots for all nodes, and tells them; the step of the clock at which the last of them was.
    pub(super) async fn revoke(&self, slots: &[Slot]) -> Answer<Stamp> {
        let mut latest = Err(RedisError::Unavailable);
        for slots in slots.chunks(SLOTS_AT_ONCE) {
            latest = Ok(match self {
                Self::None => return Err(RedisError::Unavailable),
                Self::Redis(tier) => tier.revoke(slots).await?,
                #[cfg(test)]
                Self::Model(link) => link.revoke(slots).await?,
            });
        }
        latest
    }

    /// What has been revoked since `known`.
    pub(super) async fn table(&self, known: Stamp) -> Answer<Table> {
        match self {
            Self::None => Err(RedisError::Unavailable),
            Self::Redis(tier) => tier.table(known).await,
            #[cfg(test)]
            Self::Model(link) => link.table(known).await,
        }
    }

    /// What is kept under these names, in their order.
    pub(in crate::cache) async fn read(&self, names: &[String]) -> Vec<Answer<Option<Vec<u8>>>> {
        match self {
            Self::None => names.iter().map(|_| Ok(None)).collect(),
            Self::Redis(tier) => tier.read(names).await,
            #[cfg(test)]
            Self::Model(link) => link.read(names).await,
        }
    }

    /// Keeps an envelope unless what is there is stamped later; whether it did.
    pub(in crate::cache) async fn put(&self, name: &str, envelope: &[u8], keep: Duration) -> Answer<bool> {
        match self {
            Self::None => Ok(false),
            Self::Redis(tier) => tier.put(name, envelope, keep).await,
            #[cfg(test)]
            Self::Model(link) => link.put(name, envelope, keep).await,
        }
    }

    /// Removes what nobody here can read. Whether that works is of no interest: it ends by itself.
    pub(in crate::cache) async fn discard(&self, names: Vec<String>) {
        match self {
            Self::None => {}
            Self::Redis(tier) => tier.discard(&names).await,
            #[cfg(test)]
            Self::Model(link) => link.discard(&names).await,
        }
    }

    /// Claims the loads of these names, for a while; which of them nobody had claimed.
    pub(in crate::cache) async fn claim(&self, names: &[String], keep: Duration) -> Vec<Answer<bool>> {
        match self {
            Self::None => names.iter().map(|_| Ok(true)).collect(),
            Self::Redis(tier) => tier.claim(names, keep).await,
            #[cfg(test)]
            Self::Model(link) => link.claim(names, keep).await,
        }
    }

    /// Whether these loads are claimed by anybody.
    pub(in crate::cache) async fn is_claimed(&self, names: &[String]) -> Vec<Answer<bool>> {
        match self {
            Self::None => names.iter().map(|_| Ok(false)).collect(),
            Self::Redis(tier) => tier.is_claimed(names).await,
            #[cfg(test)]
            Self::Model(link) => link.is_claimed(names).await,
        }
    }

    /// Gives a claim of this node up.
    pub(in crate::cache) async fn release(&self, name: &str) -> Answer<()> {
        match self {
            Self::None => Ok(()),
            Self::Redis(tier) => tier.release(name).await,
            #[cfg(test)]
            Self::Model(link) => link.release(name).await,
        }
    }
}
