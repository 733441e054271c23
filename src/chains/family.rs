//! The two families of chains, which do the same things in files of the same names.

use std::sync::Arc;

use tokio::join;

use super::{
    ChainError, Consistency, Finality,
    balance::{BalanceRead, Wanted},
    evm,
    fee::{FeeQuery, FeeTier, FeeWish},
    provenance::Source,
    signed::{Objection, Signed},
    solana,
    transaction::TransactionFacts,
};
use crate::{
    chains::rpc::{Agreement, Answer, BlockRef, Call, Head, HeadProbe, Refusal, Rpc},
    config::NetworkIdentity,
    model::FieldError,
};

/// Which family a chain is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainFamily {
    /// Ethereum and its kin.
    Evm,
    /// Solana.
    Solana,
}

/// How a chain is read: who is asked, at which block, and how many must agree.
pub(super) struct Reading<'a> {
    pub(super) rpc: &'a Rpc,
    pub(super) block: &'a BlockRef,
    pub(super) finality: Finality,
    pub(super) consistency: Consistency,
}

impl<'a> Reading<'a> {
    /// Reads at the newest block, as one endpoint says it is.
    pub(super) fn newest(rpc: &'a Rpc, head: &'a Head) -> Self {
        let (block, finality, consistency) = (&head.heads.latest, Finality::Latest, Consistency::One);
        Self { rpc, block, finality, consistency }
    }

    /// Reads by calls of one method. `judged` is the part of an answer that must be the same where several are asked.
    pub(super) async fn read(
        &self,
        calls: &[Call],
        judged: &'static str,
    ) -> Vec<Result<(Answer, Agreement), ChainError>> {
        match self.consistency {
            Consistency::One => {
                let answers = self.rpc.read(calls).await.into_iter();
                answers.map(|answer| Ok((answer?, Agreement::ALONE))).collect()
            }
            Consistency::Quorum => {
                let answers = self.rpc.read_agreed(calls, judged).await.into_iter();
                answers.map(|answer| Ok(answer?)).collect()
            }
        }
    }

    /// Reads what one endpoint is believed about, and no endpoint need know; see [`Rpc::find`].
    pub(super) async fn find(&self, calls: &[Call], sought: &'static str) -> Vec<Result<Answer, ChainError>> {
        self.rpc.find(calls, sought).await.into_iter().map(|answer| Ok(answer?)).collect()
    }

    /// Whose word an answer is, where it holds at the block that was asked for.
    pub(super) fn source(&self, answer: &Answer, agreement: Agreement) -> Source {
        Source { endpoint: Arc::clone(&answer.endpoint), block: self.block.clone(), agreement }
    }
}

/// What a token's contract or mint says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenFacts {
    pub(super) symbol: Option<String>,
    pub(super) decimals: u8,
}

impl ChainFamily {
    pub(super) fn of(identity: &NetworkIdentity) -> Self {
        match identity {
            NetworkIdentity::Evm { .. } => Self::Evm,
            NetworkIdentity::Solana { .. } => Self::Solana,
        }
    }

    /// An address as the chain's explorers write it, or what is wrong with it.
    pub(super) fn address(self, text: &str) -> Result<Arc<str>, &'static str> {
        match self {
            Self::Evm => evm::address::canonical(text),
            Self::Solana => solana::address::canonical(text),
        }
    }

    pub(super) fn probe(identity: &NetworkIdentity) -> HeadProbe {
        match identity {
            NetworkIdentity::Evm { number, .. } => evm::head::probe(*number),
            NetworkIdentity::Solana { genesis } => solana::head::probe(genesis),
        }
    }

    /// How many of its blocks pass while an EVM chain makes one, roughly.
    pub(super) fn pace(self) -> u64 {
        match self {
            Self::Evm => 1,
            Self::Solana => 10,
        }
    }

    /// Balances, in the order of `wanted`. Those of tokens are read another way, at the same time.
    pub(super) async fn balances(self, reading: &Reading<'_>, wanted: &[Wanted]) -> Vec<BalanceRead> {
        let (native, tokens): (Vec<usize>, Vec<usize>) =
            (0..wanted.len()).partition(|place| wanted[*place].token.is_none());
        let of = |places: &[usize]| places.iter().map(|place| &wanted[*place]).collect::<Vec<_>>();
        let (of_native, of_tokens) = (of(&native), of(&tokens));
        let (of_native, of_tokens) = match self {
            Self::Evm => join!(evm::balance::read(reading, &of_native), evm::balance::read(reading, &of_tokens)),
            Self::Solana => {
                join!(solana::balance::lamports(reading, &of_native), solana::balance::amounts(reading, &of_tokens))
            }
        };
        let mut found: Vec<_> = native.into_iter().chain(tokens).zip(of_native.into_iter().chain(of_tokens)).collect();
        found.sort_unstable_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, balance)| balance).collect()
    }

    /// Reads a transaction that was signed for the chain, or says what is wrong with it.
    pub(super) fn signed(identity: &NetworkIdentity, text: &str) -> Result<Signed, String> {
        match identity {
            NetworkIdentity::Evm { number, .. } => evm::send::read(text, *number),
            NetworkIdentity::Solana { .. } => solana::send::read(text),
        }
    }

    /// What a node's no to a transaction means.
    pub(super) fn objection(self, refusal: &Refusal) -> Objection {
        match self {
            Self::Evm => evm::send::objection(refusal),
            Self::Solana => solana::send::objection(refusal),
        }
    }

    /// How to ask whether a node knows a transaction, and the part of the answer that is null where it does not.
    pub(super) fn known(self, id: &str) -> (Call, &'static str) {
        match self {
            Self::Evm => (evm::send::known(id), ""),
            Self::Solana => (solana::send::known(id), "/value/0"),
        }
    }

    /// What a token says of itself; nothing where there is none.
    pub(super) async fn token(self, reading: &Reading<'_>, address: &str) -> Result<Option<TokenFacts>, ChainError> {
        match self {
            Self::Evm => evm::token::read(reading, address).await,
            Self::Solana => solana::token::read(reading, address).await,
        }
    }

    /// A transaction's id as the chain's explorers write it, or what is wrong with it.
    pub(super) fn transaction_id(self, text: &str) -> Result<Arc<str>, &'static str> {
        match self {
            Self::Evm => evm::transaction::canonical(text),
            Self::Solana => solana::transaction::canonical(text),
        }
    }

    /// What is known of a transaction; nothing where no endpoint knows it.
    pub(super) async fn transaction(
        self,
        reading: &Reading<'_>,
        id: &str,
    ) -> Result<Option<TransactionFacts>, ChainError> {
        match self {
            Self::Evm => evm::transaction::read(reading, id).await,
            Self::Solana => solana::transaction::read(reading, id).await,
        }
    }

    /// A fee's query in the terms of the family, or everything that is wrong with it.
    pub(super) fn wish(self, query: &FeeQuery) -> Result<FeeWish, Vec<FieldError>> {
        match self {
            Self::Evm => evm::fee::wish(query).map(FeeWish::Evm),
            Self::Solana => solana::fee::wish(query).map(FeeWish::Solana),
        }
    }

    /// What is paid to be included slowly, as usual, and fast.
    pub(super) async fn fees(reading: &Reading<'_>, wish: &FeeWish) -> Result<([FeeTier; 3], Source), ChainError> {
        match wish {
            FeeWish::Evm(wish) => evm::fee::read(reading, wish).await,
            FeeWish::Solana(wish) => solana::fee::read(reading, wish).await,
        }
    }
}
