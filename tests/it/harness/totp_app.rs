//! What people have on their phones: a secret becomes six digits that change every half minute.

use data_encoding::BASE32_NOPAD;
use tidegate::{model::Clock, secrets::hmac_sha1};

/// An authenticator app that holds one secret.
pub(crate) struct TotpApp(pub(crate) String);

impl TotpApp {
    /// The code that it shows now.
    pub(crate) fn code(&self) -> String {
        self.code_in(0)
    }

    /// The code that it shows so many half minutes from now.
    pub(crate) fn code_in(&self, steps: i64) -> String {
        let step = Clock::system().now().timestamp() / 30 + steps;
        let secret = BASE32_NOPAD.decode(self.0.as_bytes()).expect("base32");
        let hash = hmac_sha1(&secret, &step.to_be_bytes());
        let at = usize::from(hash[19] & 0x0f);
        let number = u32::from_be_bytes(hash[at..at + 4].try_into().expect("four bytes")) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// A code that is none of the app's about now.
    pub(crate) fn wrong_code(&self) -> String {
        let good: Vec<String> = (-3..=3).map(|steps| self.code_in(steps)).collect();
        (0..8).map(|number| format!("{number:06}")).find(|code| !good.contains(code)).expect("seven are good")
    }
}
