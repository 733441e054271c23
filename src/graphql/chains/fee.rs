//! How fees show in the schema.

use std::sync::Arc;

use async_graphql::{InputObject, Object, SimpleObject};

use super::types::{ChainProvenance, ChainToken};
use crate::{
    chains::{self, FeeParts},
    graphql::scalars::BigInt,
    model::Units,
};

/// What is to be sent, as far as that is known. EVM chains and Solana have fields of their own, and refuse the others'.
#[derive(InputObject, Default)]
pub(crate) struct FeeInput {
    /// EVM: who sends.
    from: Option<String>,
    /// EVM: who gets it, or which contract is called.
    to: Option<String>,
    /// EVM: in wei.
    value: Option<BigInt>,
    /// EVM: what the contract is told, or the code of a new one: `0x` and hexadecimal digits.
    data: Option<String>,
    /// Solana: the message of a transaction, in Base64. A price that it sets is not looked at.
    message: Option<String>,
    /// Solana: the accounts that will be written, at most 128; without, those of `message`.
    accounts: Option<Vec<String>>,
    /// Solana: how many compute units will be asked for; without, as many as `message` asks for, or 200000 for each
    /// instruction.
    compute_units: Option<i32>,
}

impl From<FeeInput> for chains::FeeQuery {
    fn from(input: FeeInput) -> Self {
        let FeeInput { from, to, value, data, message, accounts, compute_units } = input;
        let (value, compute_units) = (value.map(|value| value.0), compute_units.map(i64::from));
        Self { from, to, value, data, message, accounts, compute_units }
    }
}

pub(crate) struct FeeEstimate(pub(crate) Arc<chains::FeeEstimate>);

/// What it takes to be included in one of the next blocks.
#[Object]
impl FeeEstimate {
    /// The native token, in which fees are counted.
    async fn token(&self) -> ChainToken {
        ChainToken(Arc::clone(&self.0.token))
    }

    /// Enough when there is time.
    async fn slow(&self) -> FeeTier {
        self.tier(&self.0.slow)
    }

    /// What most pay.
    async fn standard(&self) -> FeeTier {
        self.tier(&self.0.standard)
    }

    /// More than most pay.
    async fn fast(&self) -> FeeTier {
        self.tier(&self.0.fast)
    }

    /// Who said so.
    async fn provenance(&self) -> ChainProvenance {
        ChainProvenance(self.0.provenance.clone())
    }
}

/// A fee, and what it is made of.
#[derive(SimpleObject)]
pub(crate) struct FeeTier {
    /// What is likely to be paid, in base units.
    expected: BigInt,
    /// The same in whole tokens, exactly, such as `0.00042`.
    expected_formatted: String,
    /// What is paid at most, in base units.
    most: BigInt,
    /// The same in whole tokens, exactly.
    most_formatted: String,
    /// What it is made of on EVM chains; null on others.
    gas: Option<GasFee>,
    /// What it is made of on Solana; null on others.
    compute: Option<ComputeFee>,
}

/// What a fee of an EVM chain is made of. Prices are in wei for each unit of gas.
#[derive(SimpleObject)]
pub(crate) struct GasFee {
    /// The units of gas that it takes.
    gas_limit: BigInt,
    /// What the next block burns; null where the chain has no EIP-1559.
    base_fee_per_gas: Option<BigInt>,
    /// What goes to whoever makes the block; null where the chain has no EIP-1559.
    max_priority_fee_per_gas: Option<BigInt>,
    /// The most that both may be; null where the chain has no EIP-1559.
    max_fee_per_gas: Option<BigInt>,
    /// The price where the chain has no EIP-1559; null where it has.
    gas_price: Option<BigInt>,
}

/// What a fee of Solana is made of.
#[derive(SimpleObject)]
pub(crate) struct ComputeFee {
    /// The compute units that are asked for.
    compute_units: BigInt,
    /// What is offered for each of them.
    micro_lamports_per_compute_unit: BigInt,
    /// What the signatures cost, in lamports.
    signature_fee: BigInt,
}

impl FeeEstimate {
    fn tier(&self, tier: &chains::FeeTier) -> FeeTier {
        let formatted = |amount: Units| amount.in_tokens(self.0.token.decimals);
        let (gas, compute) = parts(&tier.parts);
        FeeTier {
            expected: BigInt(tier.expected),
            expected_formatted: formatted(tier.expected),
            most: BigInt(tier.most),
            most_formatted: formatted(tier.most),
            gas,
            compute,
        }
    }
}

fn parts(parts: &FeeParts) -> (Option<GasFee>, Option<ComputeFee>) {
    match *parts {
        FeeParts::DynamicGas { gas_limit, base_fee_per_gas, max_priority_fee_per_gas, max_fee_per_gas } => {
            let gas = GasFee {
                gas_limit: BigInt(gas_limit),
                base_fee_per_gas: Some(BigInt(base_fee_per_gas)),
                max_priority_fee_per_gas: Some(BigInt(max_priority_fee_per_gas)),
                max_fee_per_gas: Some(BigInt(max_fee_per_gas)),
                gas_price: None,
            };
            (Some(gas), None)
        }
        FeeParts::PlainGas { gas_limit, gas_price } => {
            let gas = GasFee {
                gas_limit: BigInt(gas_limit),
                base_fee_per_gas: None,
                max_priority_fee_per_gas: None,
                max_fee_per_gas: None,
                gas_price: Some(BigInt(gas_price)),
            };
            (Some(gas), None)
        }
        FeeParts::Compute { compute_units, micro_lamports_per_compute_unit, signature_fee } => {
            let compute = ComputeFee {
                compute_units: BigInt(compute_units.into()),
                micro_lamports_per_compute_unit: BigInt(micro_lamports_per_compute_unit.into()),
                signature_fee: BigInt(signature_fee),
            };
            (None, Some(compute))
        }
    }
}
