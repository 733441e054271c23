//! What it takes to be included: slowly, as usual, and fast.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{Chain, ChainError, ChainFamily, Provenance, error::found, evm, family::Reading, rpc::Head, solana};
use crate::{
    cache::{CacheKey, CacheValue, Loaded},
    model::{ChainId, FieldError, Token, Units},
};

/// Fees hold at one head; nobody asks at it once there is a newer one.
const KEPT: Duration = Duration::from_mins(2);

/// What is to be sent, as far as the sender knows. Each family has its own fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeeQuery {
    /// EVM: who sends.
    pub from: Option<String>,
    /// EVM: who gets it, or which contract is called.
    pub to: Option<String>,
    /// EVM: in wei.
    pub value: Option<Units>,
    /// EVM: what the contract is told, or the code of a new one; `0x` and hexadecimal digits.
    pub data: Option<String>,
    /// Solana: the message of a transaction, in Base64.
    pub message: Option<String>,
    /// Solana: the accounts that will be written.
    pub accounts: Option<Vec<String>>,
    /// Solana: how many compute units will be asked for.
    pub compute_units: Option<i64>,
}

/// What it takes to be included in one of the next blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeEstimate {
    /// In which fees are paid.
    pub token: Arc<Token>,
    /// Enough when there is time.
    pub slow: FeeTier,
    /// What most pay.
    pub standard: FeeTier,
    /// More than most pay.
    pub fast: FeeTier,
    /// Who said so.
    pub provenance: Provenance,
}

/// A fee, and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeTier {
    /// What is likely to be paid, in base units.
    pub expected: Units,
    /// What is paid at most.
    pub most: Units,
    /// What it is made of.
    pub parts: FeeParts,
}

impl FeeTier {
    /// What is likely to be paid for a unit of gas; nothing on chains that count no gas.
    #[must_use]
    pub fn gas_price(&self) -> Option<Units> {
        match &self.parts {
            FeeParts::DynamicGas { base_fee_per_gas, max_priority_fee_per_gas, .. } => {
                base_fee_per_gas.checked_add(*max_priority_fee_per_gas)
            }
            FeeParts::PlainGas { gas_price, .. } => Some(*gas_price),
            FeeParts::Compute { .. } => None,
        }
    }
}

/// What a fee is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeeParts {
    /// Of EVM chains with EIP-1559. Prices are in wei for each unit of gas.
    DynamicGas {
        /// Units of gas.
        gas_limit: Units,
        /// What the next block burns.
        base_fee_per_gas: Units,
        /// What goes to whoever makes the block.
        max_priority_fee_per_gas: Units,
        /// The most that both may be.
        max_fee_per_gas: Units,
    },
    /// Of EVM chains without it.
    PlainGas {
        /// Units of gas.
        gas_limit: Units,
        /// In wei for each of them.
        gas_price: Units,
    },
    /// Of Solana.
    Compute {
        /// The compute units that are asked for.
        compute_units: u64,
        /// What is offered for each of them.
        micro_lamports_per_compute_unit: u64,
        /// What the signatures cost, in lamports.
        signature_fee: Units,
    },
}

/// A query that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum FeeWish {
    Evm(evm::fee::Wish),
    Solana(solana::fee::Wish),
}

/// A fee at one head.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FeeKey {
    chain: ChainId,
    wish: Arc<FeeWish>,
    number: u64,
    hash: Option<Arc<str>>,
}

impl CacheKey for FeeKey {
    fn shared_name(&self) -> Cow<'_, str> {
        let Self { chain, wish, number, hash } = self;
        format!("{chain}/{number}/{}/{wish:?}", hash.as_deref().unwrap_or_default()).into()
    }
}

/// Fees as they are kept, on this node only.
#[derive(Debug, Clone)]
pub(super) struct KeptFees {
    estimate: Arc<FeeEstimate>,
    /// Of the wish, which may carry a contract's code.
    wish_bytes: usize,
}

impl CacheValue for KeptFees {
    fn weight(&self) -> u32 {
        u32::try_from(size_of::<FeeEstimate>() + self.wish_bytes).unwrap_or(u32::MAX)
    }
}

impl Chain {
    /// What it takes to be included in one of the next blocks.
    pub async fn fees(&self, query: &FeeQuery) -> Result<Arc<FeeEstimate>, ChainError> {
        let wish = Arc::new(self.family.wish(query).map_err(ChainError::Invalid)?);
        let head = self.rpc.head().await?;
        let latest = &head.heads.latest;
        let key = FeeKey {
            chain: self.network.id.clone(),
            wish: Arc::clone(&wish),
            number: latest.number,
            hash: latest.hash.clone(),
        };
        let chain = self.clone();
        let kept = found(self.memory.fees.get(&key, async move |_| chain.load_fees(&wish, &head).await).await?)?;
        Ok(kept.estimate)
    }

    async fn load_fees(&self, wish: &FeeWish, head: &Head) -> Result<Loaded<KeptFees>, ChainError> {
        let reading = Reading::newest(&self.rpc, head);
        let ([slow, standard, fast], source) = ChainFamily::fees(&reading, wish).await?;
        let (token, provenance) = (Arc::clone(&self.network.native), self.provenance(source, reading.finality));
        let estimate = Arc::new(FeeEstimate { token, slow, standard, fast, provenance });
        Ok(Loaded::found(KeptFees { estimate, wish_bytes: wish.bytes() }, KEPT, Duration::ZERO))
    }
}

impl FeeWish {
    fn bytes(&self) -> usize {
        match self {
            Self::Evm(wish) => wish.bytes(),
            Self::Solana(wish) => wish.bytes(),
        }
    }
}

/// A field of the input and what is wrong with it, if anything is.
pub(super) fn problem<T>(field: &str, checked: Result<T, &'static str>, problems: &mut Vec<FieldError>) -> Option<T> {
    checked.map_err(|problem| problems.push(FieldError::new(&["input", field], problem))).ok()
}

/// Which of the fields that another family has were given.
pub(super) fn strangers(given: &[(&str, bool)], whose: &str) -> Vec<FieldError> {
    let strange = given.iter().filter(|(_, is_given)| *is_given);
    strange.map(|(field, _)| FieldError::new(&["input", field], format!("is for {whose} only"))).collect()
}
