//! A node of Solana over simulated slots and accounts: the methods that wallets and Tidegate ask for.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    base58,
    blocks::{Blocks, digest},
    holdings::{Holdings, holding},
    jsonrpc::{Answer, Node, Refusal},
};
use crate::model::Token;

pub(super) const SLOT_MS: u64 = 400;
/// The main network's, by which Tidegate knows it.
const GENESIS: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d";
/// So many slots are voted upon until one is final.
const FINAL_DEPTH: u64 = 32;
/// So long a transaction may name a block.
const BLOCKHASH_AGE: u64 = 150;
const LAMPORTS_PER_SIGNATURE: u64 = 5_000;
/// What an account must have to be kept: a mint's, and a token account's.
const RENT: u64 = 2_039_280;
const MOST_ACCOUNTS: usize = 100;
const SYSTEM_PROGRAM: &str = "11111111111111111111111111111111";
const TOKEN_PROGRAM: &str = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";

/// Simulated Solana.
pub(super) struct SolanaNode {
    pub(super) blocks: Blocks,
    pub(super) holdings: Holdings,
}

impl Node for SolanaNode {
    fn answer(&self, method: &str, params: &Value) -> Answer {
        Ok(match method {
            "getGenesisHash" => json!(GENESIS),
            // Every slot has a block here.
            "getSlot" | "getBlockHeight" => json!(self.slot(&params[0])?),
            "getHealth" => json!("ok"),
            "getBalance" => self.at(&params[1], &json!(self.lamports(key(&params[0])?)))?,
            "getAccountInfo" => self.at(&params[1], &self.account(key(&params[0])?, &params[1]))?,
            "getMultipleAccounts" => self.accounts(&params[0], &params[1])?,
            "getTokenAccountsByOwner" => self.token_accounts(params)?,
            "getLatestBlockhash" => self.latest_blockhash(&params[0])?,
            "getRecentPrioritizationFees" => self.priority_fees(),
            "getFeeForMessage" => self.at(&params[1], &json!(LAMPORTS_PER_SIGNATURE))?,
            "getTransaction" => Value::Null,
            // Nothing ever happens here.
            "getSignaturesForAddress" => json!([]),
            "getSignatureStatuses" => {
                let asked = params[0].as_array().map_or(0, Vec::len);
                self.at(&json!({ "commitment": "confirmed" }), &json!(vec![Value::Null; asked]))?
            }
            // As after a failed preflight. Nothing would come of it, and to say otherwise would be a lie.
            "sendTransaction" => return Err(Refusal::new(-32_002, "the sandbox takes no transactions")),
            _ => return Err(Refusal::unknown(method)),
        })
    }
}

impl SolanaNode {
    /// The slot of a commitment, unless it is before the one that the answer must not be older than.
    fn slot(&self, options: &Value) -> Result<u64, Refusal> {
        let newest = self.blocks.newest();
        let slot = match options["commitment"].as_str() {
            Some("processed") => newest,
            Some("confirmed") => newest.saturating_sub(1),
            None | Some("finalized") => newest.saturating_sub(FINAL_DEPTH),
            Some(_) => return Err(Refusal::invalid("Invalid params: unknown commitment")),
        };
        match options["minContextSlot"].as_u64() {
            Some(least) if slot < least => Err(Refusal::new(-32_016, "Minimum context slot has not been reached")),
            _ => Ok(slot),
        }
    }

    /// A value with the slot that it holds at.
    fn at(&self, options: &Value, value: &Value) -> Answer {
        Ok(json!({ "context": { "slot": self.slot(options)? }, "value": value }))
    }

    fn mint(&self, address: &str) -> Option<&Token> {
        self.holdings.tokens().find(|(_, mint)| *mint == address).map(|(token, _)| token)
    }

    fn lamports(&self, address: &str) -> u64 {
        if self.mint(address).is_some() { RENT } else { amount(&self.holdings.native, address) }
    }

    fn account(&self, address: &str, options: &Value) -> Value {
        match self.mint(address) {
            Some(token) => account(RENT, TOKEN_PROGRAM, &mint_data(token), options),
            None => account(self.lamports(address), SYSTEM_PROGRAM, &[], options),
        }
    }

    fn accounts(&self, addresses: &Value, options: &Value) -> Answer {
        let addresses = addresses.as_array().filter(|addresses| addresses.len() <= MOST_ACCOUNTS);
        let addresses = addresses.ok_or_else(|| Refusal::invalid("Invalid params: expected at most 100 addresses"))?;
        let accounts: Result<Vec<Value>, Refusal> =
            addresses.iter().map(|address| Ok(self.account(key(address)?, options))).collect();
        self.at(options, &json!(accounts?))
    }

    /// Everybody has one account for each token.
    fn token_accounts(&self, params: &Value) -> Answer {
        let (owner, filter, options) = (key(&params[0])?, &params[1], &params[2]);
        let tokens: Vec<&Token> = match (filter["mint"].as_str(), filter["programId"].as_str()) {
            (Some(mint), _) => {
                let token = self.mint(mint).ok_or_else(|| Refusal::invalid("Invalid param: could not find mint"))?;
                vec![token]
            }
            (None, Some(TOKEN_PROGRAM)) => self.holdings.tokens().map(|(token, _)| token).collect(),
            (None, Some(_)) => Vec::new(),
            (None, None) => return Err(Refusal::invalid("Invalid params: expected a mint or a program")),
        };
        let accounts: Vec<Value> = tokens.into_iter().map(|token| token_account(token, owner, options)).collect();
        self.at(options, &json!(accounts))
    }

    fn latest_blockhash(&self, options: &Value) -> Answer {
        let slot = self.slot(options)?;
        let hash = base58::encode(&self.blocks.hash(slot));
        self.at(options, &json!({ "blockhash": hash, "lastValidBlockHeight": slot + BLOCKHASH_AGE }))
    }

    /// What was paid on top in each of the latest slots: nothing, mostly.
    fn priority_fees(&self) -> Value {
        let newest = self.blocks.newest();
        let fee = |slot| match self.blocks.hash(slot)[0] {
            chance @ 192.. => u64::from(chance) * 100,
            _ => 0,
        };
        let slots = newest.saturating_sub(BLOCKHASH_AGE - 1)..=newest;
        slots.map(|slot| json!({ "slot": slot, "prioritizationFee": fee(slot) })).collect()
    }
}

fn key(value: &Value) -> Result<&str, Refusal> {
    let text = value.as_str().filter(|text| base58::decode(text).is_some());
    text.ok_or_else(|| Refusal::invalid("Invalid param: WrongSize"))
}

fn amount(token: &Token, owner: &str) -> u64 {
    u64::try_from(holding(token, owner)).unwrap_or(u64::MAX)
}

/// An account as it is written, with as much of its data as is asked for.
fn account(lamports: u64, program: &str, data: &[u8], options: &Value) -> Value {
    let slice = &options["dataSlice"];
    let place = |name: &str, otherwise: usize| {
        slice[name].as_u64().map_or(otherwise, |place| usize::try_from(place).unwrap_or(usize::MAX))
    };
    let begin = place("offset", 0).min(data.len());
    let end = begin.saturating_add(place("length", data.len())).min(data.len());
    json!({
        "lamports": lamports,
        "owner": program,
        "data": [BASE64_STANDARD.encode(&data[begin..end]), "base64"],
        "executable": false,
        "rentEpoch": u64::MAX,
        "space": data.len(),
    })
}

/// The token program's layout: nobody's authority (4 and 32 bytes), the supply, the decimals, that it is there, and
/// nobody who could freeze it (4 and 32 bytes).
fn mint_data(token: &Token) -> [u8; 82] {
    let mut data = [0; 82];
    data[36..44].copy_from_slice(&1_000_000_000_000_000_000_u64.to_le_bytes());
    (data[44], data[45]) = (token.decimals, 1);
    data
}

/// The token program's layout: the mint, the owner, the amount, and among what is nobody's that it is there.
fn token_account(token: &Token, owner: &str, options: &Value) -> Value {
    let mint = token.address.as_deref().unwrap_or_default();
    let mut data = [0; 165];
    for (place, address) in [(0, mint), (32, owner)] {
        data[place..place + 32].copy_from_slice(&base58::decode(address).unwrap_or_default());
    }
    data[64..72].copy_from_slice(&amount(token, owner).to_le_bytes());
    data[108] = 1;
    let address = base58::encode(&digest(&[mint.as_bytes(), owner.as_bytes()]));
    json!({ "pubkey": address, "account": account(RENT, TOKEN_PROGRAM, &data, options) })
}
