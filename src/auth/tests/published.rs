//! Keys that an issuer publishes, rotates, withdraws and fails to deliver, over a real socket.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256},
};
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::*;
use crate::config::KeyAlgorithm;

const REFRESH: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_secs(30);
const STALE: Duration = Duration::from_hours(1);

static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

/// A key pair of the issuer, made for this run.
struct SigningKey {
    id: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(&'static RsaKeyPair),
    Ec(Box<EcdsaKeyPair>),
}

impl SigningKey {
    fn rsa(id: &'static str) -> Self {
        Self { id, pair: Pair::Rsa(&RSA) }
    }

    fn ec(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { id, pair: Pair::Ec(Box::new(pair)) }
    }

    fn jwk(&self) -> Value {
        let base64 = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match &self.pair {
            Pair::Rsa(pair) => {
                // PKCS#1: two headers of nine bytes with the sign, the modulus, then the exponent 65537.
                let modulus = &pair.public_key().as_ref()[9..265];
                json!({ "kty": "RSA", "kid": self.id, "use": "sig", "n": base64(modulus), "e": "AQAB" })
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256", "x": base64(x), "y": base64(y) })
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }

    /// A token that ends long after the test.
    fn token(&self, subject: &str) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "kid": self.id }), subject)
    }

    fn token_with(&self, header: &Value, subject: &str) -> String {
        let claims = json!({ "sub": subject, "exp": NOW + 86_400 });
        token(header, &claims, |message| self.sign(message))
    }
}

/// An issuer on the loopback interface.
struct Issuer {
    config: AuthConfig,
    served: Arc<Mutex<(u16, String)>>,
    fetches: Arc<AtomicUsize>,
    /// One permit lets one answer out.
    gate: Arc<Semaphore>,
}

impl Issuer {
    async fn with(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = AuthConfig::defaults();
        config.jwks_url = Some(format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap());
        let issuer = Self {
            config,
            served: Arc::default(),
            fetches: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        };
        issuer.publish(keys);
        let (served, fetches, gate) = (issuer.served.clone(), issuer.fetches.clone(), issuer.gate.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                fetches.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(stream, served.clone(), gate.clone()));
            }
        });
        issuer
    }

    fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        self.answer_with(200, &json!({ "keys": keys }).to_string());
    }

    fn answer_with(&self, status: u16, body: &str) {
        *self.served.lock() = (status, body.to_owned());
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn authenticator(&self) -> Authenticator {
        authenticator(&self.config, clock())
    }
}

async fn answer(mut stream: TcpStream, served: Arc<Mutex<(u16, String)>>, gate: Arc<Semaphore>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let Ok(permit) = gate.acquire().await else { return };
    permit.forget();
    let (status, body) = served.lock().clone();
    let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// Lets time pass at once. Sockets need the timer to run, so it stands still only while it is being moved.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn unavailable(refused: &Result<Principal, AuthError>) -> bool {
    refused.as_ref().is_err_and(|error| error.is_temporary() && error.retry_after().is_some())
}

#[tokio::test]
async fn both_algorithms_are_accepted_from_one_fetch() {
    let (rsa, ec) = (SigningKey::rsa("r"), SigningKey::ec("e"));
    let issuer = Issuer::with(&[&rsa, &ec]).await;
    let authenticator = issuer.authenticator();
    let tokens: Vec<_> = (0..50).flat_map(|n| [rsa.token(&format!("r{n}")), ec.token(&format!("e{n}"))]).collect();
    for outcome in join_all(tokens.iter().map(|token| show(&authenticator, token))).await {
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn the_key_decides_the_algorithm_and_never_the_token() {
    let (rsa, ec) = (SigningKey::rsa("r"), SigningKey::ec("e"));
    let issuer = Issuer::with(&[&rsa, &ec]).await;
    let authenticator = issuer.authenticator();
    let public = RSA.public_key().as_ref();
    let pem = format!(
        "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
        base64::prelude::BASE64_STANDARD.encode(public)
    );
    let claims = json!({ "sub": "mallory", "exp": NOW + 60, "role": "ADMIN" });
    let hs256 = json!({ "alg": "HS256", "kid": "r" });
    for (name, token) in [
        ("HS256 with the public key as PEM", token(&hs256, &claims, hmac(&pem))),
        ("HS256 with the modulus", token(&hs256, &claims, hmac(rsa.jwk()["n"].as_str().unwrap()))),
        ("HS256 with the unused secret", token(&hs256, &claims, hmac(issuer.config.secret.expose()))),
        ("none", token(&json!({ "alg": "none", "kid": "r" }), &claims, |_| Vec::new())),
        ("RS512", rsa.token_with(&json!({ "alg": "RS512", "kid": "r" }), "mallory")),
    ] {
        assert_eq!(show(&authenticator, &token).await, Err(AuthError::WrongAlgorithm), "{name}");
    }
    assert_eq!(issuer.fetches(), 0, "a token that cannot be right must not make us ask");
    let crossed = rsa.token_with(&json!({ "alg": "ES256", "kid": "r" }), "mallory");
    assert_eq!(show(&authenticator, &crossed).await, Err(AuthError::UnknownKey));
    let borrowed = ec.token_with(&json!({ "alg": "RS256", "kid": "r" }), "mallory");
    assert_eq!(show(&authenticator, &borrowed).await, Err(AuthError::BadSignature));
}

#[tokio::test]
async fn the_allow_list_is_obeyed() {
    let (rsa, ec) = (SigningKey::rsa("r"), SigningKey::ec("e"));
    let mut issuer = Issuer::with(&[&rsa, &ec]).await;
    issuer.config.algorithms = vec![KeyAlgorithm::Es256];
    let authenticator = issuer.authenticator();
    assert_eq!(show(&authenticator, &rsa.token("alice")).await, Err(AuthError::WrongAlgorithm));
    assert!(show(&authenticator, &ec.token("alice")).await.is_ok());
}

#[tokio::test]
async fn a_token_without_a_key_id_means_the_only_key_that_fits() {
    let (one, other) = (SigningKey::ec("a"), SigningKey::ec("b"));
    let issuer = Issuer::with(&[&one, &SigningKey::rsa("r")]).await;
    let nameless = |key: &SigningKey| key.token_with(&json!({ "alg": "ES256" }), "alice");
    let authenticator = issuer.authenticator();
    assert!(show(&authenticator, &nameless(&one)).await.is_ok());
    assert_eq!(show(&authenticator, &nameless(&other)).await, Err(AuthError::BadSignature));
    issuer.publish(&[&one, &other]);
    let authenticator = issuer.authenticator();
    assert_eq!(show(&authenticator, &nameless(&one)).await, Err(AuthError::UnknownKey));
}

#[tokio::test]
async fn a_rotated_key_is_found_and_the_old_one_ends_with_what_it_vouched_for() {
    let (old, new) = (SigningKey::ec("old"), SigningKey::ec("new"));
    let issuer = Issuer::with(&[&old]).await;
    let authenticator = issuer.authenticator();
    let token = old.token("alice");
    assert!(show(&authenticator, &token).await.is_ok());
    issuer.publish(&[&new]);
    pass(PAUSE).await;
    assert!(show(&authenticator, &token).await.is_ok(), "nobody has asked again yet");
    assert!(show(&authenticator, &new.token("alice")).await.is_ok());
    assert_eq!(show(&authenticator, &token).await, Err(AuthError::UnknownKey));
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_ends_at_the_next_refresh_without_anybody_naming_a_new_one() {
    let (withdrawn, kept) = (SigningKey::ec("withdrawn"), SigningKey::ec("kept"));
    let issuer = Issuer::with(&[&withdrawn, &kept]).await;
    let authenticator = issuer.authenticator();
    let token = withdrawn.token("alice");
    assert!(show(&authenticator, &token).await.is_ok());
    issuer.publish(&[&kept]);
    pass(REFRESH).await;
    assert_eq!(show(&authenticator, &token).await, Err(AuthError::UnknownKey));
}

#[tokio::test]
async fn strangers_with_unknown_keys_cause_one_fetch_a_pause() {
    let (known, stranger) = (SigningKey::ec("known"), SigningKey::ec("stranger"));
    let issuer = Issuer::with(&[&known]).await;
    let authenticator = issuer.authenticator();
    assert!(show(&authenticator, &known.token("alice")).await.is_ok());
    for fetches in [1, 2, 3] {
        let tokens: Vec<_> = (0..100).map(|n| stranger.token(&n.to_string())).collect();
        for outcome in join_all(tokens.iter().map(|token| show(&authenticator, token))).await {
            assert_eq!(outcome, Err(AuthError::UnknownKey));
        }
        assert_eq!(issuer.fetches(), fetches);
        pass(PAUSE).await;
    }
}

#[tokio::test]
async fn known_keys_outlive_an_outage_until_they_are_too_old() {
    let key = SigningKey::ec("a");
    let issuer = Issuer::with(&[&key]).await;
    let authenticator = issuer.authenticator();
    assert!(show(&authenticator, &key.token("alice")).await.is_ok());
    pass(REFRESH).await;
    for (status, body) in [(503, "busy"), (200, "<html>"), (200, "{\"keys\":[]}"), (200, &" ".repeat(300 * 1_024))] {
        issuer.answer_with(status, body);
        let before = issuer.fetches();
        let token = key.token(&before.to_string());
        assert!(show(&authenticator, &token).await.is_ok(), "{status} {body:.20}");
        assert!(issuer.fetches() > before, "it must ask again");
        pass(Duration::from_mins(1)).await;
    }
    pass(STALE).await;
    assert!(unavailable(&show(&authenticator, &key.token("alice")).await));
    issuer.publish(&[&key]);
    pass(Duration::from_mins(1)).await;
    assert!(show(&authenticator, &key.token("alice")).await.is_ok());
}

#[tokio::test]
async fn a_cold_outage_is_our_fault_and_no_storm() {
    let key = SigningKey::ec("a");
    let issuer = Issuer::with(&[&key]).await;
    issuer.answer_with(503, "busy");
    let authenticator = issuer.authenticator();
    let tokens: Vec<_> = (0..50).map(|n| key.token(&n.to_string())).collect();
    for outcome in join_all(tokens.iter().map(|token| show(&authenticator, token))).await {
        assert!(unavailable(&outcome), "{outcome:?}");
    }
    assert_eq!(issuer.fetches(), 1);
    issuer.publish(&[&key]);
    pass(Duration::from_mins(1)).await;
    assert!(show(&authenticator, &tokens[0]).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_hangs_costs_no_more_than_the_policy_allows() {
    let key = SigningKey::ec("a");
    let issuer = Issuer::with(&[&key]).await;
    issuer.gate.forget_permits(Semaphore::MAX_PERMITS);
    let authenticator = patient_authenticator(&issuer.config, clock(), Duration::from_millis(50));
    assert!(unavailable(&show(&authenticator, &key.token("alice")).await));
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_nobody_up_whose_keys_are_at_hand() {
    let (key, next) = (SigningKey::ec("a"), SigningKey::ec("b"));
    let issuer = Issuer::with(&[&key]).await;
    let authenticator = issuer.authenticator();
    assert!(show(&authenticator, &key.token("first")).await.is_ok());
    issuer.gate.forget_permits(Semaphore::MAX_PERMITS);
    issuer.publish(&[&next]);
    pass(REFRESH).await;
    // Less than the policy's patience, and than a hundred callers who each waited anew would take.
    let during_the_hang = async {
        for n in 0..100 {
            assert!(show(&authenticator, &key.token(&n.to_string())).await.is_ok());
        }
    };
    tokio::time::timeout(Duration::from_secs(15), during_the_hang).await.expect("nobody is held up");
    assert_eq!(issuer.fetches(), 2, "one fetch for all");
    issuer.gate.add_permits(1);
    let after_the_hang = async { while show(&authenticator, &key.token("last")).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(15), after_the_hang).await.expect("the answer counts when it comes");
    assert!(show(&authenticator, &next.token("bob")).await.is_ok());
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_fetch() {
    let key = SigningKey::ec("a");
    let issuer = Issuer::with(&[&key]).await;
    issuer.gate.forget_permits(Semaphore::MAX_PERMITS);
    let authenticator = issuer.authenticator();
    let token = key.token("alice");
    let waiting = tokio::spawn({
        let (authenticator, token) = (authenticator.clone(), token.clone());
        async move { show(&authenticator, &token).await }
    });
    while issuer.fetches() == 0 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.is_err_and(|error| error.is_cancelled()));
    issuer.gate.add_permits(1);
    assert!(show(&authenticator, &token).await.is_ok());
    assert_eq!(issuer.fetches(), 1);
}
