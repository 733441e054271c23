//! Step-up tokens, and that they and access tokens are never taken for each other.

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::{
    auth::{
        StepUpError, dev,
        factor::{EnrolledAt, StepUp},
        revocation::RevocationList,
    },
    config::DEVELOPMENT_SECRET,
    model::Role,
    secrets::{Key, MasterKey},
};

const AUDIENCE: &str = "tidegate:step-up";

fn step_up(master: &MasterKey) -> StepUp {
    StepUp::new(&AuthConfig::defaults(), master, RevocationList::empty())
}

/// When alice enrolled the factor that counts.
fn enrolled() -> EnrolledAt {
    EnrolledAt(now() - TimeDelta::days(1))
}

/// What `StepUp` signs with, to sign what it never would.
fn hmac_of(key: &Key) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.expose());
    move |message| aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
}

#[test]
fn a_step_up_counts_for_its_subject_until_its_end_on_every_node() {
    let master = MasterKey::generate();
    let issued = step_up(&master).issue("alice", enrolled(), now());
    let (token, another_node) = (issued.text.into_text(), step_up(&master));
    assert_eq!(issued.expires_at, now() + TimeDelta::seconds(300));
    assert_eq!(another_node.check(&token, "alice", enrolled(), now()), Ok(()));
    assert_eq!(another_node.check(&token, "bob", enrolled(), now()), Err(StepUpError::WrongSubject));
    assert_eq!(another_node.check(&token, "alice", enrolled(), issued.expires_at - TimeDelta::milliseconds(1)), Ok(()));
    assert_eq!(another_node.check(&token, "alice", enrolled(), issued.expires_at), Err(StepUpError::Expired));
    let elsewhere = step_up(&MasterKey::generate());
    assert_eq!(elsewhere.check(&token, "alice", enrolled(), now()), Err(StepUpError::BadSignature));
}

#[test]
fn its_lifetime_is_a_setting() {
    let mut config = AuthConfig::defaults();
    config.step_up_seconds = 60;
    let issued =
        StepUp::new(&config, &MasterKey::generate(), RevocationList::empty()).issue("alice", enrolled(), now());
    assert_eq!(issued.expires_at, now() + TimeDelta::seconds(60));
}

#[test]
fn tokens_that_we_did_not_issue_are_refused_each_for_its_reason() {
    let master = MasterKey::generate();
    let key = master.derive("auth/step-up");
    let good = json!({ "aud": AUDIENCE, "sub": "alice", "iat": NOW, "exp": NOW + 60,
        "enrolled": enrolled().0.timestamp_micros() });
    let but = |change: &Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        token(&json!({ "alg": "HS256" }), &claims, hmac_of(&key))
    };
    let with_algorithm = |algorithm: &str| token(&json!({ "alg": algorithm }), &good, hmac_of(&key));
    let genuine = but(&json!({}));
    let (signed, signature) = genuine.rsplit_once('.').unwrap();
    let step_up = step_up(&master);
    assert_eq!(step_up.check(&genuine, "alice", enrolled(), now()), Ok(()));
    for (name, token, expected) in [
        ("nothing", String::new(), StepUpError::Malformed),
        ("no token", "a.b.c".to_owned(), StepUpError::Malformed),
        ("far too long", "a".repeat(1_000_000), StepUpError::Malformed),
        ("algorithm none", with_algorithm("none"), StepUpError::Malformed),
        ("algorithm HS512", with_algorithm("HS512"), StepUpError::Malformed),
        ("algorithm RS256", with_algorithm("RS256"), StepUpError::BadSignature),
        ("no signature", format!("{signed}."), StepUpError::BadSignature),
        ("half a signature", format!("{signed}.{}", &signature[..20]), StepUpError::BadSignature),
        ("another audience", but(&json!({ "aud": "tidegate" })), StepUpError::WrongAudience),
        ("one of many audiences", but(&json!({ "aud": [AUDIENCE] })), StepUpError::WrongAudience),
        ("no audience", but(&json!({ "aud": null })), StepUpError::WrongAudience),
        ("no subject", but(&json!({ "sub": null })), StepUpError::WrongSubject),
        ("no end", but(&json!({ "exp": "never" })), StepUpError::Malformed),
        ("expired", but(&json!({ "exp": NOW })), StepUpError::Expired),
        ("an earlier factor", but(&json!({ "enrolled": NOW - 90_000 })), StepUpError::FactorGone),
        ("no factor", but(&json!({ "enrolled": null })), StepUpError::FactorGone),
    ] {
        let refused = step_up.check(&token, "alice", enrolled(), now()).expect_err(name);
        assert_eq!(refused, expected, "{name}");
        assert!(!refused.to_string().contains("alice"), "{name}");
    }
}

#[tokio::test]
async fn a_step_up_token_is_no_access_token() {
    let authenticator = authenticator(&AuthConfig::defaults(), clock());
    let issued = step_up(&MasterKey::generate()).issue("alice", enrolled(), now()).text.into_text();
    assert_eq!(show(&authenticator, &issued).await, Err(AuthError::BadSignature));
    // Not even if the keys were the same.
    for audience in [json!(AUDIENCE), json!(["tidegate", AUDIENCE])] {
        let claims = json!({ "aud": audience, "sub": "alice", "exp": NOW + 60, "role": "ADMIN" });
        let token = token(&json!({ "alg": "HS256" }), &claims, hmac(DEVELOPMENT_SECRET));
        assert_eq!(show(&authenticator, &token).await, Err(AuthError::WrongAudience), "{claims}");
    }
}

#[test]
fn an_access_token_is_no_step_up_token() {
    let mut config = AuthConfig::defaults();
    let master = MasterKey::generate();
    for audience in [None, Some(AUDIENCE)] {
        config.audience = audience.map(str::to_owned);
        let access = dev::mint(&config, "alice", Role::Admin, Duration::from_mins(1), now());
        assert_eq!(step_up(&master).check(&access, "alice", enrolled(), now()), Err(StepUpError::BadSignature));
    }
}

#[test]
fn nothing_of_its_key_is_shown() {
    let shown = format!("{:?}", step_up(&MasterKey::generate()));
    assert_eq!(shown, "StepUp { lifetime: TimeDelta { secs: 300, nanos: 0 }, .. }");
}
