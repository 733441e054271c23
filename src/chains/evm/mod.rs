//! Ethereum and its kin. The files have the names of those in `solana/`.
//!
//! State is read at a block's hash (EIP-1898), so that a node that has not got that far says so instead of telling an
//! older story. Only this folder knows alloy.

pub(super) mod address;
pub(super) mod balance;
mod call;
pub(super) mod fee;
pub(super) mod head;
mod hex;
pub(super) mod log;
pub(super) mod quoter;
mod revert;
pub(super) mod send;
pub(super) mod token;
pub(super) mod transaction;
