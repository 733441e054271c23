//! Tokens of an issuer elsewhere, by the front door: good ones open it, forged and unknown ones do not.

use std::sync::Arc;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::harness::{Reply, TYPENAME, TestApp};

/// A key pair made for this run.
struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn published(&self, id: &str) -> Value {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "kid": id, "crv": "P-256", "alg": "ES256", "x": BASE64.encode(x), "y": BASE64.encode(y)})
    }

    fn token(&self, id: &str, role: &str) -> String {
        let sign = |message: &[u8]| self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        token(&json!({"alg": "ES256", "kid": id}), role, sign)
    }
}

fn token(header: &Value, role: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    // The year 2100.
    let claims = json!({"sub": "alice", "role": role, "exp": 4_102_444_800_u64});
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = BASE64.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Publishes keys on a loopback port; what is in the cell is what is published.
async fn issuer() -> (url::Url, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
    let keys: Arc<Mutex<Vec<Value>>> = Arc::default();
    let published = Arc::clone(&keys);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
            let body = json!({"keys": *published.lock()}).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    (address, keys)
}

async fn shown(app: &TestApp, token: String, document: &str) -> Reply {
    app.bearing(Some(token)).query(document).await
}

#[tokio::test]
async fn an_issuers_keys_decide_whose_tokens_count() {
    let (url, keys) = issuer().await;
    let (first, second) = (Key::new(), Key::new());
    *keys.lock() = vec![first.published("1")];
    let app = TestApp::builder()
        .config(|config| {
            config.auth.jwks_url = Some(url);
            config.auth.jwks_min_refresh_seconds = 1;
        })
        .start()
        .await;

    let upstreams = "{ upstreams { name } }";
    assert_eq!(shown(&app, first.token("1", "ADMIN"), upstreams).await.status.as_u16(), 200);
    shown(&app, first.token("1", "USER"), upstreams).await.refused(403, "FORBIDDEN");

    let public = first.published("1").to_string();
    let hs256 =
        |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes()), message).as_ref().to_vec();
    for forged in [
        token(&json!({"alg": "HS256", "kid": "1"}), "ADMIN", hs256),
        token(&json!({"alg": "none"}), "ADMIN", |_| Vec::new()),
        second.token("1", "ADMIN"),
        first.token("unknown", "ADMIN"),
        app.token("admin", tidegate::model::Role::Admin, std::time::Duration::from_hours(1)),
    ] {
        let reply = shown(&app, forged, TYPENAME).await;
        reply.refused(401, "UNAUTHENTICATED");
        assert!(reply.header("www-authenticate").contains("invalid_token"), "{reply:?}");
    }

    // The issuer rotates: the new key counts as soon as somebody shows a token of it.
    *keys.lock() = vec![second.published("2")];
    let start = tokio::time::Instant::now();
    while shown(&app, second.token("2", "ADMIN"), upstreams).await.status.as_u16() != 200 {
        assert!(start.elapsed() < crate::harness::PATIENCE, "the new key is found");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    shown(&app, first.token("1", "ADMIN"), upstreams).await.refused(401, "UNAUTHENTICATED");
}
