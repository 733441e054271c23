//! Tokens signed with the shared secret, good and bad.

use serde_json::json;

use super::*;
use crate::{
    auth::{ApiKey, dev},
    config::DEVELOPMENT_SECRET,
    model::Role,
};

fn signed(claims: &Value) -> String {
    token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, hmac(DEVELOPMENT_SECRET))
}

fn with_header(header: &Value) -> String {
    token(header, &json!({ "sub": "alice", "exp": NOW + 60 }), hmac(DEVELOPMENT_SECRET))
}

#[tokio::test(start_paused = true)]
async fn a_development_token_is_believed_until_it_ends() {
    let mut config = AuthConfig::defaults();
    config.issuer = Some("https://issuer.example".into());
    config.audience = Some("tidegate".into());
    let token = dev::mint(&config, "alice", Role::Admin, Duration::from_secs(10), now());
    let authenticator = authenticator(&config, clock());
    let principal = show(&authenticator, &token).await.unwrap();
    assert_eq!((&*principal.subject, principal.role), ("alice", Role::Admin));
    assert_eq!(principal.expires_at.map(|end| end.timestamp()), Some(NOW + 70));
    tokio::time::advance(Duration::from_millis(69_999)).await;
    assert_eq!(show(&authenticator, &token).await, Ok(principal));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(show(&authenticator, &token).await, Err(AuthError::Expired));
}

#[tokio::test]
async fn no_header_is_nobody_and_a_bad_header_is_an_error() {
    let authenticator = authenticator(&AuthConfig::defaults(), clock());
    assert_eq!(authenticator.authenticate(None).await, Ok(None));
    for header in ["", "Bearer", "Bearer ", "Basic YTpi", "a.b.c", "Bearerabc x"] {
        assert_eq!(authenticator.authenticate(Some(header)).await, Err(AuthError::NotBearer), "{header:?}");
    }
    let token = signed(&json!({ "sub": "alice", "exp": NOW + 60 }));
    for scheme in ["Bearer ", "bearer ", "BEARER  "] {
        let header = format!("{scheme}{token}");
        assert!(authenticator.authenticate(Some(&header)).await.unwrap().is_some(), "{scheme:?}");
    }
}

/// Claims that are good where issuer and audience are checked.
fn good() -> Value {
    json!({ "sub": "alice", "exp": NOW + 60, "iss": "https://issuer.example", "aud": "tidegate" })
}

/// Good claims but for `change`; null takes a claim away.
fn good_but(change: &Value) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

/// Shows every token where issuer and audience are checked; each must be refused for its reason and say nothing of it.
async fn all_refused(table: impl IntoIterator<Item = (&str, String, AuthError)>) {
    let mut config = AuthConfig::defaults();
    config.issuer = Some("https://issuer.example".into());
    config.audience = Some("tidegate".into());
    let authenticator = authenticator(&config, clock());
    assert!(show(&authenticator, &signed(&good())).await.is_ok());
    for (name, token, expected) in table {
        let refused = show(&authenticator, &token).await.expect_err(name);
        assert_eq!(refused, expected, "{name}");
        assert!(!refused.is_temporary() && !refused.to_string().contains("alice"), "{name}");
    }
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused_each_for_its_reason() {
    let genuine = signed(&good());
    let parts: Vec<&str> = genuine.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let none = part(&json!({ "alg": "none" }));
    let other_claims = part(&good_but(&json!({ "sub": "bob" })));
    all_refused([
        ("empty parts", "..".to_owned(), AuthError::Malformed),
        ("one part", "abc".to_owned(), AuthError::Malformed),
        ("two parts", format!("{header}.{claims}"), AuthError::Malformed),
        ("four parts", format!("{genuine}.x"), AuthError::Malformed),
        ("not base64", "💥.e30.x".to_owned(), AuthError::Malformed),
        ("header not json", "bm9wZQ.e30.x".to_owned(), AuthError::Malformed),
        ("claims not an object", signed(&json!([1])), AuthError::Malformed),
        ("critical extension", with_header(&json!({ "alg": "HS256", "crit": ["b64"] })), AuthError::Malformed),
        ("no algorithm", with_header(&json!({})), AuthError::Malformed),
        ("longer than any token", signed(&good_but(&json!({ "x": "x".repeat(8_192) }))), AuthError::TooLong),
        ("algorithm none", format!("{none}.{claims}."), AuthError::WrongAlgorithm),
        ("algorithm none, signed", format!("{none}.{claims}.{signature}"), AuthError::WrongAlgorithm),
        ("algorithm nOnE", with_header(&json!({ "alg": "nOnE" })), AuthError::WrongAlgorithm),
        ("algorithm HS512", with_header(&json!({ "alg": "HS512" })), AuthError::WrongAlgorithm),
        ("algorithm RS256", with_header(&json!({ "alg": "RS256" })), AuthError::WrongAlgorithm),
        ("another secret", token(&json!({ "alg": "HS256" }), &good(), hmac("guess")), AuthError::BadSignature),
        ("no signature", format!("{header}.{claims}."), AuthError::BadSignature),
        ("other claims", format!("{header}.{other_claims}.{signature}"), AuthError::BadSignature),
    ])
    .await;
}

#[tokio::test]
async fn tokens_that_say_the_wrong_thing_are_refused_each_for_its_reason() {
    let table = [
        ("no expiry", json!({ "exp": null }), AuthError::NoExpiry),
        ("expiry no number", json!({ "exp": "soon" }), AuthError::Malformed),
        ("expiry beyond time", json!({ "exp": 1e300 }), AuthError::Malformed),
        ("expired beyond the skew", json!({ "exp": NOW - 60 }), AuthError::Expired),
        ("not yet, beyond the skew", json!({ "nbf": NOW + 61 }), AuthError::NotYetValid),
        ("issued beyond the skew", json!({ "iat": NOW + 61 }), AuthError::NotYetValid),
        ("another issuer", json!({ "iss": "https://evil.example" }), AuthError::WrongIssuer),
        ("no issuer", json!({ "iss": null }), AuthError::WrongIssuer),
        ("issuer in a list", json!({ "iss": ["https://issuer.example"] }), AuthError::WrongIssuer),
        ("another audience", json!({ "aud": ["a", "b"] }), AuthError::WrongAudience),
        ("no audience", json!({ "aud": null }), AuthError::WrongAudience),
        ("no subject", json!({ "sub": null }), AuthError::BadSubject),
        ("empty subject", json!({ "sub": "" }), AuthError::BadSubject),
        ("subject no text", json!({ "sub": 7 }), AuthError::BadSubject),
        ("subject with a NUL", json!({ "sub": "ali\0ce" }), AuthError::BadSubject),
        ("long subject", json!({ "sub": "é".repeat(257) }), AuthError::BadSubject),
    ];
    all_refused(table.map(|(name, change, expected)| (name, signed(&good_but(&change)), expected))).await;
}

#[tokio::test]
async fn an_api_key_is_never_taken_for_a_token() {
    let authenticator = authenticator(&AuthConfig::defaults(), clock());
    let key = ApiKey::generate().into_text().into_text();
    assert_eq!(show(&authenticator, &key).await, Err(AuthError::UnknownApiKey));
    let token = format!("tgk_{}", signed(&good()));
    assert_eq!(show(&authenticator, &token).await, Err(AuthError::MalformedApiKey));
}

#[tokio::test]
async fn clocks_may_differ_by_the_skew() {
    let authenticator = authenticator(&AuthConfig::defaults(), clock());
    for claims in [
        json!({ "sub": "alice", "exp": NOW - 58 }),
        json!({ "sub": "alice", "exp": NOW + 1, "nbf": NOW + 60, "iat": NOW + 60 }),
        json!({ "sub": "alice", "exp": 1_800_000_000.5, "nbf": 1_700_000_000.25 }),
        json!({ "sub": "é".repeat(256), "exp": NOW + 1 }),
    ] {
        assert!(show(&authenticator, &signed(&claims)).await.is_ok(), "{claims}");
    }
}

#[tokio::test]
async fn the_audience_may_be_one_of_several() {
    let mut config = AuthConfig::defaults();
    config.audience = Some("tidegate".into());
    let authenticator = authenticator(&config, clock());
    let claims = json!({ "sub": "alice", "exp": NOW + 60, "aud": ["billing", "tidegate"] });
    assert!(show(&authenticator, &signed(&claims)).await.is_ok());
}

#[tokio::test]
async fn the_role_is_the_highest_known_one_named() {
    let mut config = AuthConfig::defaults();
    config.role_claim = "https://example.com/roles".into();
    let authenticator = authenticator(&config, clock());
    for (role, expected) in [
        (json!(null), Role::User),
        (json!("USER"), Role::User),
        (json!("ADMIN"), Role::Admin),
        (json!("admin"), Role::User),
        (json!(["billing", "USER"]), Role::User),
        (json!(["USER", "ADMIN", "billing"]), Role::Admin),
        (json!(["billing"]), Role::User),
        (json!({ "ADMIN": true }), Role::User),
        (json!([["ADMIN"]]), Role::User),
    ] {
        let claims = json!({ "sub": "alice", "exp": NOW + 60, "https://example.com/roles": role, "role": "ADMIN" });
        assert_eq!(show(&authenticator, &signed(&claims)).await.unwrap().role, expected, "{role}");
    }
}

#[tokio::test]
async fn the_memory_of_good_tokens_never_vouches_for_a_changed_one() {
    let authenticator = authenticator(&AuthConfig::defaults(), clock());
    let good = signed(&json!({ "sub": "alice", "exp": NOW + 60 }));
    for _ in 0..2 {
        assert!(show(&authenticator, &good).await.is_ok());
        let mut changed = good.clone();
        let last = changed.pop().unwrap();
        changed.push(if last == 'A' { 'B' } else { 'A' });
        assert!(show(&authenticator, &changed).await.is_err());
    }
}
