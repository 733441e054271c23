//! `[auth]`: which tokens are believed.
//!
//! With `jwks_url` the keys come from there and only public-key signatures count; without it one shared secret signs
//! and only HS256 counts, so that a public key can never be used as a secret. `serve` refuses the development secret.

use std::ops::RangeInclusive;

use confique::Config;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Problem, Secret};

/// The secret that development tokens are signed with. It is public: `serve` refuses to start on it.
pub const DEVELOPMENT_SECRET: &str = "tidegate-development-secret-that-everyone-knows";

/// HS256 keys shorter than its hash are guessable (RFC 7518, 3.2).
const SHORTEST_SECRET_BYTES: usize = 32;

/// Which tokens are believed.
#[derive(Debug, Clone, Config)]
pub struct AuthConfig {
    /// Shared secret for HS256 tokens, at least 32 bytes. Unused when `jwks_url` is set. The default is the public
    /// development secret, which `serve` refuses.
    #[config(env = "TIDEGATE_AUTH_SECRET", default = "tidegate-development-secret-that-everyone-knows")]
    pub secret: Secret,

    /// Where the identity provider publishes its public keys (JWKS). When set, RS256 and ES256 are accepted as
    /// `algorithms` says, and HS256 is refused.
    #[config(env = "TIDEGATE_AUTH_JWKS_URL")]
    pub jwks_url: Option<Url>,

    /// Seconds for which fetched keys are used without asking again, 10 to 86400. A removed key is refused after this
    /// long at the latest.
    #[config(env = "TIDEGATE_AUTH_JWKS_REFRESH_SECONDS", default = 300)]
    pub jwks_refresh_seconds: u64,

    /// Seconds between fetches that unknown key ids may cause, 1 to 3600. Bounds what strangers can make us ask.
    #[config(env = "TIDEGATE_AUTH_JWKS_MIN_REFRESH_SECONDS", default = 30)]
    pub jwks_min_refresh_seconds: u64,

    /// Seconds for which old keys stay in use beyond their refresh while the provider cannot be reached, 0 to 604800.
    #[config(env = "TIDEGATE_AUTH_JWKS_STALE_SECONDS", default = 3_600)]
    pub jwks_stale_seconds: u64,

    /// Signature algorithms accepted from `jwks_url`: RS256, ES256.
    #[config(env = "TIDEGATE_AUTH_ALGORITHMS", default = ["RS256", "ES256"])]
    pub algorithms: Vec<KeyAlgorithm>,

    /// The `iss` that tokens must carry. Unset: not checked.
    #[config(env = "TIDEGATE_AUTH_ISSUER")]
    pub issuer: Option<String>,

    /// The `aud` that tokens must carry, alone or in a list. Unset: not checked.
    #[config(env = "TIDEGATE_AUTH_AUDIENCE")]
    pub audience: Option<String>,

    /// Seconds by which the issuer's clock may differ from ours, 0 to 300.
    #[config(env = "TIDEGATE_AUTH_CLOCK_SKEW_SECONDS", default = 60)]
    pub clock_skew_seconds: u64,

    /// The claim that names the role, `USER` or `ADMIN`, as a text or a list of texts. Tokens without it are `USER`.
    #[config(env = "TIDEGATE_AUTH_ROLE_CLAIM", default = "role")]
    pub role_claim: String,

    /// Good tokens remembered, so that their signature is checked once, 0 to 1000000.
    #[config(env = "TIDEGATE_AUTH_TOKEN_CACHE_ENTRIES", default = 10_000)]
    pub token_cache_entries: u64,

    /// Who must show a second factor before they may change what only `ADMIN` may: `off` nobody, `enrolled` those who
    /// have enrolled one, `required` everybody, so that whoever has none is refused.
    #[config(env = "TIDEGATE_AUTH_SECOND_FACTOR", default = "enrolled")]
    pub second_factor: SecondFactor,

    /// Seconds for which a second factor, once shown, need not be shown again, 60 to 3600.
    #[config(env = "TIDEGATE_AUTH_STEP_UP_SECONDS", default = 300)]
    pub step_up_seconds: u64,

    /// Milliseconds after which this node looks for tokens that other nodes have revoked, 100 to 60000.
    #[config(env = "TIDEGATE_AUTH_REVOCATION_POLL_MS", default = 1_000)]
    pub revocation_poll_ms: u64,
}

/// A public-key signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyAlgorithm {
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

/// Who must show a second factor before they may change what only `ADMIN` may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    /// Nobody.
    Off,
    /// Those who have enrolled one.
    Enrolled,
    /// Everybody; whoever has not enrolled one is refused.
    Required,
}

impl AuthConfig {
    /// The section as it is when nobody sets anything.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// Whether tokens that everyone can make are believed.
    #[must_use]
    pub fn uses_default_secret(&self) -> bool {
        self.jwks_url.is_none() && self.secret.expose() == DEVELOPMENT_SECRET
    }

    pub(crate) fn problems(&self) -> Vec<Problem> {
        let within = |range: RangeInclusive<u64>, key, value: u64, expected| {
            Problem::unless(range.contains(&value), key, &value, expected)
        };
        let long_enough = self.secret.expose().len() >= SHORTEST_SECRET_BYTES;
        let (skew, cached) = (self.clock_skew_seconds, self.token_cache_entries);
        let (refresh, min_refresh) = (self.jwks_refresh_seconds, self.jwks_min_refresh_seconds);
        let checks = [
            Problem::unless(long_enough, "auth.secret", &self.secret, "at least 32 bytes"),
            self.jwks_url.as_ref().and_then(jwks_url_problem),
            within(10..=86_400, "auth.jwks_refresh_seconds", refresh, "10 to 86400 seconds"),
            within(1..=3_600, "auth.jwks_min_refresh_seconds", min_refresh, "1 to 3600 seconds"),
            within(0..=604_800, "auth.jwks_stale_seconds", self.jwks_stale_seconds, "0 to 604800 seconds"),
            Problem::unless(!self.algorithms.is_empty(), "auth.algorithms", &"", "at least one of RS256, ES256"),
            within(0..=300, "auth.clock_skew_seconds", skew, "0 to 300 seconds"),
            Problem::unless(!self.role_claim.is_empty(), "auth.role_claim", &"", "the name of a claim"),
            within(0..=1_000_000, "auth.token_cache_entries", cached, "0 to 1000000 tokens"),
            within(60..=3_600, "auth.step_up_seconds", self.step_up_seconds, "60 to 3600 seconds"),
            within(100..=60_000, "auth.revocation_poll_ms", self.revocation_poll_ms, "100 to 60000 milliseconds"),
        ];
        checks.into_iter().flatten().collect()
    }

    /// What `serve` refuses and `sandbox` allows.
    pub(crate) fn serve_problems(&self) -> Vec<Problem> {
        let expected = "a secret of your own, or auth.jwks_url; the development secret is public";
        Problem::unless(!self.uses_default_secret(), "auth.secret", &self.secret, expected).into_iter().collect()
    }
}

fn jwks_url_problem(url: &Url) -> Option<Problem> {
    let key = "auth.jwks_url";
    if !matches!(url.scheme(), "https" | "http") {
        return Some(Problem { key, value: url.scheme().into(), expected: "an https or http address" });
    }
    let expected = "an address without user and password";
    let is_bare = url.username().is_empty() && url.password().is_none();
    // The refused part may be a secret, so only the host is shown.
    Problem::unless(is_bare, key, &url.host_str().unwrap_or_default(), expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declared_default_is_the_development_secret() {
        let config = AuthConfig::defaults();
        assert_eq!((config.secret.expose(), config.problems()), (DEVELOPMENT_SECRET, vec![]));
    }

    #[test]
    fn only_serve_minds_the_development_secret() {
        let mut config = AuthConfig::defaults();
        assert_eq!(config.serve_problems().len(), 1);
        config.secret = "0123456789abcdef0123456789abcdef".into();
        assert_eq!((config.problems(), config.serve_problems()), (vec![], vec![]));
        config = AuthConfig::defaults();
        config.jwks_url = Some("https://issuer.example/jwks".parse().unwrap());
        assert_eq!(config.serve_problems(), []);
    }

    #[test]
    fn a_short_secret_is_refused_and_not_shown() {
        let mut config = AuthConfig::defaults();
        config.secret = "hunter2".into();
        let shown = config.problems()[0].to_string();
        assert_eq!(shown, "auth.secret = [redacted]: expected at least 32 bytes");
    }

    #[test]
    fn a_step_up_is_short() {
        for (seconds, refused) in [(59, true), (60, false), (3_600, false), (3_601, true)] {
            let mut config = AuthConfig::defaults();
            config.step_up_seconds = seconds;
            let shown: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
            let expected = format!("auth.step_up_seconds = {seconds}: expected 60 to 3600 seconds");
            assert_eq!(shown, if refused { vec![expected] } else { vec![] });
        }
    }

    #[test]
    fn a_password_in_the_address_of_the_keys_is_refused_and_not_shown() {
        for (url, refused) in [
            ("http://alice:hunter2@issuer.example/jwks", true),
            ("https://alice@issuer.example/jwks", true),
            ("https://:hunter2@issuer.example/jwks", true),
            ("https://issuer.example/jwks?tenant=1", false),
        ] {
            let mut config = AuthConfig::defaults();
            config.jwks_url = Some(url.parse().unwrap());
            let shown: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
            let expected = "auth.jwks_url = issuer.example: expected an address without user and password";
            assert_eq!(shown, if refused { vec![expected] } else { vec![] }, "{url}");
        }
    }
}
