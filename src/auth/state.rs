//! What is kept of who may do what, put together.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ApiKeys, SecondFactors, TokenRevocations, attempts::Attempts, changes::Changes, factor::SecondFactorParts,
};
use crate::{
    audit::Audit, config::AuthConfig, events::Events, limits::Limiter, model::Clock, secrets::MasterKey,
    store::Database,
};

/// What [`AuthState`] is made of.
pub struct AuthParts<'a> {
    /// Through which changes are made.
    pub events: Events,
    /// Where they are recorded.
    pub audit: Audit,
    /// Where the tables are: the log's database.
    pub log: Database,
    /// What secrets and step-up tokens are protected with.
    pub master_key: &'a MasterKey,
    /// Who counts attempts.
    pub limiter: Limiter,
    /// Time.
    pub clock: Clock,
}

/// What is kept of who may do what. Clones share everything.
#[derive(Debug, Clone)]
pub struct AuthState {
    /// Keys for programs.
    pub api_keys: ApiKeys,
    /// Tokens that count no more.
    pub revocations: TokenRevocations,
    /// What proves, beside a token, that its bearer is there.
    pub second_factors: SecondFactors,
}

impl AuthState {
    /// Nothing is read yet; see [`start`](Self::start).
    #[must_use]
    pub fn new(config: &AuthConfig, parts: AuthParts<'_>) -> Self {
        let AuthParts { events, audit, log, master_key, limiter, clock } = parts;
        let (changes, attempts) = (Changes::new(events, audit), Attempts::new(limiter));
        let api_keys = ApiKeys::new(changes.clone(), log.clone(), attempts.clone(), clock.clone());
        let revocations = TokenRevocations::new(config, changes.clone(), log.clone(), clock.clone());
        let of_factors =
            SecondFactorParts { changes, attempts, log, clock, master_key, revocations: revocations.list() };
        Self { api_keys, revocations, second_factors: SecondFactors::new(config, of_factors) }
    }

    /// Reads what was revoked, and goes on reading in the background. Without a database it returns all the same, and no
    /// token counts until there is one.
    pub async fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        self.revocations.start(tasks, stop).await;
    }
}
