//! API keys, revocations and the second factor in the schema: who may do what.
//!
//! What is shown once leaves through payloads of mutations, and only through them: nothing here is ever cached or logged.

mod api_keys;
mod problems;
mod revocations;
mod second_factor;

use async_graphql::MergedObject;

use self::{
    api_keys::{ApiKeysMutation, ApiKeysQuery},
    revocations::RevocationsMutation,
    second_factor::{SecondFactorMutation, SecondFactorQuery},
};

#[derive(MergedObject, Default)]
pub(crate) struct AccessQuery(ApiKeysQuery, SecondFactorQuery);

#[derive(MergedObject, Default)]
pub(crate) struct AccessMutation(ApiKeysMutation, RevocationsMutation, SecondFactorMutation);
