//! A script that runs inside Redis, known to it by its hash.

use redis::{Cmd, Script};

/// A script. Keep it in a `LazyLock`: making one hashes its text.
#[derive(Debug)]
pub struct Lua {
    code: &'static str,
    hash: String,
}

impl Lua {
    /// A script from its text.
    #[must_use]
    pub fn new(code: &'static str) -> Self {
        Self { code, hash: Script::new(code).get_hash().to_owned() }
    }

    /// Names the script by its hash, which a server knows that has run it before.
    pub(super) fn by_hash(&self, keys: &[&str], args: &[&[u8]]) -> Cmd {
        call("EVALSHA", &self.hash, keys, args)
    }

    /// Sends the whole text, which also teaches it to the server.
    pub(super) fn by_text(&self, keys: &[&str], args: &[&[u8]]) -> Cmd {
        call("EVAL", self.code, keys, args)
    }
}

fn call(verb: &str, script: &str, keys: &[&str], args: &[&[u8]]) -> Cmd {
    let mut command = redis::cmd(verb);
    command.arg(script).arg(keys.len()).arg(keys).arg(args);
    command
}
