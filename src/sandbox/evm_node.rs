//! A node of Ethereum over simulated blocks and balances: the methods that wallets and Tidegate ask for.
//!
//! Answers are put together by hand, as only `chains/evm` knows the library: all of them are words of 32 bytes.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::{
    blocks::Blocks,
    holdings::{Holdings, holding},
    jsonrpc::{Answer, Node, Refusal},
};

/// Ethereum takes 12 seconds; whoever looks on for a minute sees more with this.
pub(super) const BLOCK_MS: u64 = 2_000;
const CHAIN_NUMBER: u64 = 1;
/// Two epochs of 32 blocks are final.
const FINAL_DEPTH: u64 = 64;
const SAFE_DEPTH: u64 = 32;
/// Nodes that are no archives keep the state of so many blocks.
const STATES_KEPT: u64 = 128;
const TIP: u64 = 1_000_000_000;
const GAS_LIMIT: u64 = 45_000_000;
const MOST_FEES: u64 = 1_024;

/// Simulated Ethereum.
pub(super) struct EvmNode {
    pub(super) blocks: Blocks,
    pub(super) holdings: Holdings,
}

impl Node for EvmNode {
    fn answer(&self, method: &str, params: &Value) -> Answer {
        Ok(match method {
            "eth_chainId" => hex(CHAIN_NUMBER),
            "eth_blockNumber" => hex(self.blocks.newest()),
            "eth_getBlockByNumber" => self.block(&params[0])?,
            "eth_getBalance" => {
                let owner = address(&params[0])?;
                self.state(&params[1])?;
                hex(holding(&self.holdings.native, &owner))
            }
            "eth_call" => {
                self.state(&params[1])?;
                self.call(&params[0])?
            }
            "eth_gasPrice" => hex(self.base_fee(self.blocks.newest()) + TIP),
            "eth_maxPriorityFeePerGas" => hex(TIP),
            "eth_feeHistory" => self.fees(params)?,
            "eth_estimateGas" => hex(if input(&params[0]).is_empty() { 21_000_u64 } else { 65_000 }),
            "eth_getTransactionByHash" | "eth_getTransactionReceipt" => Value::Null,
            "eth_getLogs" => json!([]),
            // EIP-1474: rejected. Nothing would come of it, and to say otherwise would be a lie.
            "eth_sendRawTransaction" => return Err(Refusal::new(-32_003, "the sandbox takes no transactions")),
            _ => return Err(Refusal::unknown(method)),
        })
    }
}

impl EvmNode {
    /// The number that a tag or a number stands for.
    fn number(&self, block: &Value) -> Result<u64, Refusal> {
        let newest = self.blocks.newest();
        match block.as_str() {
            None if block.is_null() => Ok(newest),
            Some("latest" | "pending") => Ok(newest),
            Some("safe") => Ok(newest.saturating_sub(SAFE_DEPTH)),
            Some("finalized") => Ok(newest.saturating_sub(FINAL_DEPTH)),
            Some("earliest") => Ok(0),
            _ => quantity(block).ok_or_else(|| Refusal::invalid("invalid argument: no block number or tag")),
        }
    }

    /// Refuses a block whose state is not kept. It may be named by its hash (EIP-1898).
    fn state(&self, block: &Value) -> Result<(), Refusal> {
        let newest = self.blocks.newest();
        let mut kept = newest.saturating_sub(STATES_KEPT - 1)..=newest;
        let is_kept = match &block["blockHash"] {
            Value::Null if block.is_object() => kept.contains(&self.number(&block["blockNumber"])?),
            Value::Null => kept.contains(&self.number(block)?),
            // The newest first, as they are asked for most.
            hash => kept.rfind(|number| *hash == self.hash(*number)).is_some(),
        };
        if is_kept { Ok(()) } else { Err(Refusal::new(-32_000, "header not found")) }
    }

    fn block(&self, block: &Value) -> Answer {
        let number = self.number(block)?;
        if number > self.blocks.newest() {
            return Ok(Value::Null);
        }
        let parent = number.checked_sub(1).map_or_else(|| bytes(&[0; 32]), |parent| self.hash(parent));
        Ok(json!({
            "number": hex(number),
            "hash": self.hash(number),
            "parentHash": parent,
            "timestamp": hex(self.blocks.seconds(number)),
            "baseFeePerGas": hex(self.base_fee(number)),
            "gasLimit": hex(GAS_LIMIT),
            "gasUsed": hex(GAS_LIMIT / 2),
            "transactions": [],
        }))
    }

    /// What the contract of a token returns; nothing where there is no contract.
    fn call(&self, transaction: &Value) -> Answer {
        let to = address(&transaction["to"])?;
        let Some((token, _)) = self.holdings.tokens().find(|(_, address)| address.eq_ignore_ascii_case(&to)) else {
            return Ok(json!("0x"));
        };
        let input = input(transaction);
        let (selector, arguments) = input.split_at_checked(8).unwrap_or_default();
        match (selector, arguments.strip_prefix(&"0".repeat(24))) {
            ("70a08231", Some(owner)) if owner.len() == 40 => Ok(word(holding(token, &format!("0x{owner}")))),
            ("313ce567", _) => Ok(word(token.decimals.into())),
            ("95d89b41", _) => Ok(text(&token.symbol)),
            _ => Err(Refusal::new(3, "execution reverted")),
        }
    }

    fn fees(&self, params: &Value) -> Answer {
        let count = quantity(&params[0]).or(params[0].as_u64()).filter(|count| (1..=MOST_FEES).contains(count));
        let count = count.ok_or_else(|| Refusal::invalid("invalid argument: no count of blocks"))?;
        let newest = self.number(&params[1])?.min(self.blocks.newest());
        let oldest = (newest + 1).saturating_sub(count);
        let fees: Vec<Value> = (oldest..=newest + 1).map(|number| hex(self.base_fee(number))).collect();
        let percentiles = params[2].as_array().map_or(0, Vec::len);
        let blocks = fees.len() - 1;
        Ok(json!({
            "oldestBlock": hex(oldest),
            "baseFeePerGas": fees,
            "gasUsedRatio": vec![0.5; blocks],
            "reward": vec![vec![hex(TIP); percentiles]; blocks],
        }))
    }

    /// Between one and three gwei.
    fn base_fee(&self, number: u64) -> u64 {
        1_000_000_000 + u64::from(self.blocks.hash(number)[0]) * 7_812_500
    }

    fn hash(&self, number: u64) -> Value {
        bytes(&self.blocks.hash(number))
    }
}

/// In lower case.
fn address(value: &Value) -> Result<String, Refusal> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let is_address = |digits: &&str| digits.len() == 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let digits = digits.filter(is_address).ok_or_else(|| Refusal::invalid("invalid argument: no address"))?;
    Ok(format!("0x{}", digits.to_ascii_lowercase()))
}

/// The digits that are given to a contract, in lower case.
fn input(transaction: &Value) -> String {
    let given = transaction["input"].as_str().or(transaction["data"].as_str()).unwrap_or_default();
    given.strip_prefix("0x").unwrap_or_default().to_ascii_lowercase()
}

fn quantity(value: &Value) -> Option<u64> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
}

fn hex(number: impl Into<u128>) -> Value {
    json!(format!("{:#x}", number.into()))
}

fn bytes(bytes: &[u8]) -> Value {
    json!(format!("0x{}", HEXLOWER.encode(bytes)))
}

fn word(number: u128) -> Value {
    json!(format!("0x{number:064x}"))
}

/// Of at most 32 bytes: where it begins, how long it is, and its bytes.
fn text(text: &str) -> Value {
    json!(format!("0x{:064x}{:064x}{:0<64}", 32, text.len(), HEXLOWER.encode(text.as_bytes())))
}
