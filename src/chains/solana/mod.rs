//! Solana. The files have the names of those in `evm/`.
//!
//! State cannot be read at a block, only at a commitment and not before a slot: a node that has not got that far says so,
//! and what another one answers names the slot that it holds at.

pub(super) mod address;
pub(super) mod balance;
pub(super) mod fee;
pub(super) mod head;
pub(super) mod log;
mod message;
pub(super) mod send;
mod state;
pub(super) mod token;
pub(super) mod transaction;
