//! The room's promises, entered by its one door. `secret.rs` has the table of bad tokens; `published.rs` has keys that
//! come and go; `step_up.rs` has the tokens of a second factor.

mod published;
mod secret;
mod step_up;

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::DateTime;
use serde_json::Value;

use super::{AuthError, Authenticator};
use crate::{
    config::{AuthConfig, ResilienceConfig},
    model::{Chance, Clock, Principal, Timestamp},
    resilience::{Outbound, Upstreams},
};

/// The wall clock of every test, in seconds since 1970.
const NOW: i64 = 1_800_000_000;

fn clock() -> Clock {
    Clock::stepped_from(now())
}

fn now() -> Timestamp {
    DateTime::from_timestamp(NOW, 0).unwrap()
}

fn authenticator(config: &AuthConfig, clock: Clock) -> Authenticator {
    patient_authenticator(config, clock, Duration::from_secs(30))
}

/// An authenticator that waits for an issuer's keys no longer than `patience`.
fn patient_authenticator(config: &AuthConfig, clock: Clock, patience: Duration) -> Authenticator {
    let mut resilience = ResilienceConfig::defaults();
    resilience.outbound.allow_private_addresses = true;
    // One try a fetch, so that fetches can be counted.
    resilience.retry.max_tries = 1;
    resilience.breaker.enabled = false;
    resilience.breaker.try_timeout_ms = u64::try_from(patience.as_millis()).unwrap();
    resilience.deadline_ms = resilience.breaker.try_timeout_ms;
    let upstreams = Upstreams::new(clock.clone(), Chance::seeded(1), &resilience);
    let outbound = Outbound::new(&resilience.outbound, clock.clone()).unwrap();
    Authenticator::new(config, clock, &upstreams, outbound)
}

/// Shows a token; there must be an answer for it.
async fn show(authenticator: &Authenticator, token: &str) -> Result<Principal, AuthError> {
    let principal = authenticator.authenticate(Some(&format!("Bearer {token}"))).await?;
    Ok(principal.expect("a header with a token has a principal or an error"))
}

fn part(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A compact token, signed by `sign`.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn hmac(secret: &str) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    move |message| aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
}
