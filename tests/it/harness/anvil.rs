//! An Ethereum node: Foundry's anvil, which npm installs into `tests/nodes/`.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Node;

/// A chain of the test's own, with ten accounts that have 10,000 ether each and need no signatures.
pub(crate) struct Anvil(Node);

/// How a node is to be started.
#[derive(Default)]
pub(crate) struct Builder {
    arguments: Vec<String>,
}

impl Anvil {
    /// Mines a block for each transaction, and none besides.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    /// Adds empty blocks.
    pub(crate) async fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([blocks])).await;
    }

    /// Puts empty blocks in the place of the newest ones.
    pub(crate) async fn reorg(&self, depth: u64) {
        self.rpc("anvil_reorg", json!([depth, []])).await;
    }

    /// The same, where the first of the new blocks has a transaction that needs no signature.
    pub(crate) async fn reorg_with(&self, depth: u64, transaction: Value) {
        self.rpc("anvil_reorg", json!([depth, [[transaction, 0]]])).await;
    }

    /// Puts a contract at an address: `0x` and its code in hex.
    pub(crate) async fn set_code(&self, address: &str, code: &str) {
        self.rpc("anvil_setCode", json!([address, code])).await;
    }

    pub(crate) async fn set_balance(&self, address: &str, wei: u128) {
        self.rpc("anvil_setBalance", json!([address, format!("{wei:#x}")])).await;
    }

    /// The first of the accounts that need no signatures.
    pub(crate) async fn rich(&self) -> String {
        let Value::String(first) = self.rpc("eth_accounts", json!([])).await[0].take() else { panic!("no account") };
        first
    }
}

impl Deref for Anvil {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}

impl Builder {
    /// Mines a block every so often instead, with the transactions that have come.
    pub(crate) fn block_seconds(mut self, seconds: u64) -> Self {
        self.arguments.extend(["--block-time".to_owned(), seconds.to_string()]);
        self
    }

    pub(crate) fn chain_id(mut self, id: u64) -> Self {
        self.arguments.extend(["--chain-id".to_owned(), id.to_string()]);
        self
    }

    /// By the rules of this hard fork instead of the newest one.
    pub(crate) fn hardfork(mut self, name: &str) -> Self {
        self.arguments.extend(["--hardfork".to_owned(), name.to_owned()]);
        self
    }

    /// Blocks depend on nothing but what is in them: two such nodes that do the same have the same chain.
    pub(crate) fn reproducible(mut self) -> Self {
        self.arguments.extend(["--timestamp".to_owned(), "1700000000".to_owned()]);
        self.hardfork("london")
    }

    pub(crate) async fn start(mut self) -> Anvil {
        self.arguments.extend(["--host".to_owned(), "127.0.0.1".to_owned()]);
        Anvil(Node::start(program(), self.arguments).await)
    }
}

/// The program itself, in the package for this platform: the script `anvil` would start it and could not be killed.
fn program() -> PathBuf {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nodes/node_modules/@foundry-rs");
    let platforms = fs::read_dir(&packages).into_iter().flatten().flatten();
    let mut programs = platforms.map(|package| package.path().join("bin/anvil")).filter(|program| program.exists());
    programs.next().unwrap_or_else(|| panic!("scripts/install-test-tools.sh installs anvil in {}", packages.display()))
}
