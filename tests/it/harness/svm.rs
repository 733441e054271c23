//! A Solana node: `tests/nodes/svm/`, over a real virtual machine, which pip installs beside what cargo builds.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Node;

/// A chain of the test's own. Its wallets have names, and sign at its `svm_signTransfer`.
pub(crate) struct Svm(Node);

/// How a node is to be started.
pub(crate) struct Builder {
    arguments: Vec<String>,
}

impl Svm {
    /// Makes a block when it is told to, and none besides.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nodes/svm");
        // Isolated from what the environment tells Python, and without caches in the source.
        let arguments = ["-I", "-B", &program.display().to_string(), "--slot-ms", "0"];
        Builder { arguments: arguments.map(str::to_owned).to_vec() }
    }

    /// Adds blocks, whose slots now and then skip one. After one more block, a block is confirmed, and final after 32.
    pub(crate) async fn advance(&self, blocks: u64) {
        self.rpc("svm_advance", json!([blocks])).await;
    }

    /// Puts empty blocks in the place of the newest ones, at most of those that are not final.
    pub(crate) async fn fork(&self, depth: u64) {
        self.rpc("svm_fork", json!([depth])).await;
    }

    /// Answers as if it had not seen the newest blocks.
    pub(crate) async fn set_lag(&self, blocks: u64) {
        self.rpc("svm_setLag", json!([blocks])).await;
    }

    /// The address of a wallet, the same on every node.
    pub(crate) async fn wallet(&self, name: &str) -> String {
        text(&self.rpc("svm_wallet", json!([name])).await)
    }

    /// Gives tokens of the mint by this name to an address. The mint, and the account that holds them.
    pub(crate) async fn mint_to(&self, mint: &str, owner: &str, amount: u64, decimals: u8) -> (String, String) {
        let made = self.rpc("svm_mintTo", json!([mint, owner, amount, decimals])).await;
        (text(&made["mint"]), text(&made["account"]))
    }

    /// A transfer that is signed and not sent: its signature, and the transaction in Base64. The wish has `from` (a name
    /// of a wallet), `to`, `amount`, and maybe `mint`, `price`, `blockhash`, `version`.
    pub(crate) async fn sign_transfer(&self, wish: Value) -> (String, String) {
        let signed = self.rpc("svm_signTransfer", json!([wish])).await;
        (text(&signed["signature"]), text(&signed["transaction"]))
    }
}

impl Deref for Svm {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}

impl Builder {
    /// Makes a block every so often besides.
    pub(crate) fn slot_millis(self, millis: u64) -> Self {
        self.option("--slot-ms", &millis.to_string())
    }

    /// What it calls its genesis: other clusters have others.
    pub(crate) fn genesis(self, hash: &str) -> Self {
        self.option("--genesis", hash)
    }

    /// How many blocks make one final that is below them.
    pub(crate) fn finality(self, blocks: u64) -> Self {
        self.option("--finality", &blocks.to_string())
    }

    fn option(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub(crate) async fn start(self) -> Svm {
        Svm(Node::start(python(), self.arguments).await)
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// Where scripts/install-test-tools.sh puts it: in cargo's target folder, which has `tmp` as well.
fn python() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-python").join("bin/python")
}
