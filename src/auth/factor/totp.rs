//! Codes of authenticator apps (RFC 6238): SHA-1, a new code every 30 seconds, six digits, which is what all apps know.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use url::form_urlencoded::byte_serialize;

use super::CodeError;
use crate::{
    model::Timestamp,
    secrets::{MasterKey, Seal, ShownOnce, Unreadable, constant_time_eq, hmac_sha1, random},
};

/// As long as the hash, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
const SECONDS_PER_STEP: i64 = 30;
const DIGITS: usize = 6;
/// How many steps the app's clock may be ahead or behind.
const TOLERANCE: i64 = 1;
/// Longer input is no code, however it is spaced.
const LONGEST_INPUT_BYTES: usize = 32;

/// The number of a half minute since 1970. A code belongs to one.
pub type Step = i64;

/// What a subject's authenticator app and we share. It prints as nothing.
pub struct TotpSecret([u8; SECRET_BYTES]);

impl TotpSecret {
    /// A secret that nobody can guess.
    #[must_use]
    pub fn generate() -> Self {
        Self(random())
    }

    /// The secret as one types it into an app that cannot scan.
    #[must_use]
    pub fn base32(&self) -> ShownOnce {
        BASE32_NOPAD.encode(&self.0).into()
    }

    /// The address that apps read from a QR code. They show `issuer` and `account`.
    #[must_use]
    pub fn uri(&self, issuer: &str, account: &str) -> ShownOnce {
        let (issuer, account, secret) = (percent(issuer), percent(account), BASE32_NOPAD.encode(&self.0));
        format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={SECONDS_PER_STEP}"
        )
        .into()
    }

    /// The step whose code this is: of now, or of one step before or after. It must be newer than `last_used`, and the
    /// caller remembers it as the next `last_used`, in the transaction that the code is good for. Spaces and dashes
    /// between digits do not matter.
    pub fn verify(&self, code: &str, now: Timestamp, last_used: Option<Step>) -> Result<Step, CodeError> {
        let code = digits(code).ok_or(CodeError::Wrong)?;
        let step = now.timestamp().div_euclid(SECONDS_PER_STEP);
        // All are computed and compared before any is looked at, so that the time taken tells nothing.
        let steps = [step - TOLERANCE, step, step + TOLERANCE];
        let matches = steps.map(|step| constant_time_eq(code.as_bytes(), self.code(step).as_bytes()));
        let matching = steps.into_iter().zip(matches).filter_map(|(step, matches)| matches.then_some(step));
        let mut matching = matching.peekable();
        matching.peek().ok_or(CodeError::Wrong)?;
        matching.find(|step| last_used.is_none_or(|last| *step > last)).ok_or(CodeError::Used)
    }

    fn code(&self, step: Step) -> String {
        let hash = hmac_sha1(&self.0, &step.to_be_bytes());
        // RFC 4226, 5.3: the last half byte says where the number stands, and its sign is cut off.
        let at = usize::from(hash[19] & 0x0f);
        let number = u32::from_be_bytes([hash[at], hash[at + 1], hash[at + 2], hash[at + 3]]) & 0x7fff_ffff;
        format!("{:0DIGITS$}", number % 1_000_000)
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret([redacted])")
    }
}

/// Seals secrets for the table that they are kept in.
#[derive(Debug)]
pub struct TotpSeal(Seal);

impl TotpSeal {
    /// Seals with a key of `master`'s.
    #[must_use]
    pub fn new(master: &MasterKey) -> Self {
        Self(Seal::new(&master.derive("auth/totp")))
    }

    /// What is kept of a subject's secret. It opens for the same subject only.
    #[must_use]
    pub fn seal(&self, secret: &TotpSecret, subject: &str) -> Vec<u8> {
        self.0.seal(&secret.0, subject.as_bytes())
    }

    /// The secret that was sealed for `subject`.
    pub fn open(&self, sealed: &[u8], subject: &str) -> Result<TotpSecret, Unreadable> {
        let secret = self.0.open(sealed, subject.as_bytes())?;
        secret.try_into().map(TotpSecret).map_err(|_| Unreadable)
    }
}

/// Six digits, however they are spaced.
fn digits(typed: &str) -> Option<String> {
    if typed.len() > LONGEST_INPUT_BYTES {
        return None;
    }
    let code: String = typed.chars().filter(|typed| !typed.is_whitespace() && *typed != '-').collect();
    (code.len() == DIGITS && code.bytes().all(|digit| digit.is_ascii_digit())).then_some(code)
}

/// Apps do not agree on what a plus sign is, so a space is written as `%20`.
fn percent(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    const PUBLISHED: TotpSecret = TotpSecret(*b"12345678901234567890");

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// Appendix B of RFC 6238, of whose eight digits six are the last six.
    #[test]
    fn the_codes_are_the_published_ones() {
        for (seconds, eight_digits) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let verified = PUBLISHED.verify(&eight_digits[2..], at(seconds), None);
            assert_eq!(verified, Ok(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn people_may_space_their_digits() {
        for typed in ["287082", " 287 082 ", "287-082", "287\u{a0}082", "28 70 82\n"] {
            assert_eq!(PUBLISHED.verify(typed, at(59), None), Ok(1), "{typed:?}");
        }
        for typed in ["", "28708", "2870822", "94287082", "28708x", "+87082", "２８７０８２", &"0".repeat(10_000)]
        {
            assert_eq!(PUBLISHED.verify(typed, at(59), None), Err(CodeError::Wrong), "{typed:?}");
        }
    }

    #[test]
    fn the_address_is_what_apps_read() {
        let uri = PUBLISHED.uri("Tide gate", "alice+1@example.com:é&x=/").into_text();
        let expected = "otpauth://totp/Tide%20gate:alice%2B1%40example.com%3A%C3%A9%26x%3D%2F\
                        ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Tide%20gate&algorithm=SHA1&digits=6&period=30";
        assert_eq!(uri, expected);
        assert_eq!(PUBLISHED.base32().into_text(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(url::Url::parse(&uri).unwrap().query_pairs().count(), 5);
    }

    #[test]
    fn a_secret_is_kept_sealed_for_its_subject_and_never_shown() {
        let seal = TotpSeal::new(&MasterKey::generate());
        let sealed = seal.seal(&PUBLISHED, "alice");
        let opened = |seal: &TotpSeal, sealed: &[u8], subject| seal.open(sealed, subject).map(|secret| secret.0);
        assert_eq!(opened(&seal, &sealed, "alice"), Ok(PUBLISHED.0));
        assert_eq!(opened(&seal, &sealed, "bob"), Err(Unreadable));
        assert_eq!(opened(&TotpSeal::new(&MasterKey::generate()), &sealed, "alice"), Err(Unreadable));
        let short = seal.0.seal(b"short", b"alice");
        assert_eq!(opened(&seal, &short, "alice"), Err(Unreadable));
        assert_eq!(format!("{PUBLISHED:?}"), "TotpSecret([redacted])");
    }

    proptest! {
        #[test]
        fn a_code_counts_within_one_step_of_its_own(
            secret in any::<[u8; SECRET_BYTES]>(),
            seconds in 0..20_000_000_000_i64,
            distance in -4..=4_i64,
        ) {
            let (secret, now) = (TotpSecret(secret), seconds / SECONDS_PER_STEP);
            let code = secret.code(now + distance);
            let near = (now - 1..=now + 1).find(|step| secret.code(*step) == code);
            prop_assert!(distance.abs() > 1 || near.is_some());
            prop_assert_eq!(secret.verify(&code, at(seconds), None), near.ok_or(CodeError::Wrong));
        }

        /// Whatever is shown when: a step is used once, and none after a later one.
        #[test]
        fn steps_that_count_only_rise(
            secret in any::<[u8; SECRET_BYTES]>(),
            shown in proptest::collection::vec((0..20_i64, -2..=2_i64), 1..30),
        ) {
            let secret = TotpSecret(secret);
            let mut last_used = None;
            for (step, distance) in shown {
                let code = secret.code(step + distance);
                match secret.verify(&code, at(step * SECONDS_PER_STEP), last_used) {
                    Ok(used) => {
                        prop_assert!(last_used < Some(used) && (used - step).abs() <= TOLERANCE);
                        last_used = Some(used);
                    }
                    Err(CodeError::Used) => prop_assert!(last_used >= Some(step - TOLERANCE)),
                    Err(CodeError::Wrong) => prop_assert!(distance.abs() > TOLERANCE),
                }
            }
        }
    }
}
