//! Chains: what is on them, who said so, and how sure that is.
//!
//! Owns the registry of chains, their endpoints (`rpc/`), one folder for each family (`evm/`, `solana/`, with files of the
//! same names), and what is remembered of each. It must never give a value without its provenance, put an amount through a
//! float, hold anybody's keys, or send a transaction twice. Another EVM chain is a setting; another family is a folder and
//! a variant of [`ChainFamily`]. `tests/it/chains_reads.rs` and `chains_transactions.rs` run the same tables against real
//! nodes of both families.

mod balance;
mod chain;
mod error;
mod evm;
mod family;
mod fee;
mod follow;
mod network;
mod pool;
mod provenance;
mod registry;
mod rpc;
mod sends;
mod sent;
mod signed;
mod solana;
mod token;
mod transaction;

pub use balance::Balance;
pub use chain::{BalanceQuery, Chain, ChainHead, EndpointStatus};
pub use error::ChainError;
pub use family::ChainFamily;
pub use fee::{FeeEstimate, FeeParts, FeeQuery, FeeTier};
pub use follow::{Applied, ChainEvent, EventFilter, Log, LogFilter, Mention, Mentioned, News, Seen};
pub use network::Network;
pub use pool::{PoolContracts, PoolQuote};
pub use provenance::{Consistency, Finality, Provenance};
pub use registry::{ChainParts, Chains};
pub use sends::{SendError, SendRequest, Sends, SentTransaction};
pub use signed::SendRefusal;
pub use transaction::{Transaction, TransactionStatus};
