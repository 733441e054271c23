//! From what a caller sent to what venues are asked, or everything that is wrong with it at once.

use super::quote::{SwapError, SwapRequest};
use crate::{
    market::{
        TokenError, Tokens,
        tokens::ChainTokens,
        venues::{QuoteAsk, Venue},
    },
    model::{FieldError, Token, Units},
};

const MAX_SLIPPAGE_BPS: u32 = 5_000;

/// A swap that can be asked for, and the native token of its chain, in which fees are paid.
pub(super) struct Checked {
    pub(super) ask: QuoteAsk,
    pub(super) native: Token,
}

pub(super) fn check(request: &SwapRequest, tokens: &Tokens, venues: &[Venue]) -> Result<Checked, SwapError> {
    let mut problems = Vec::new();
    let chain = kept(&mut problems, chain(request, tokens, venues));
    let named = chain.map(|chain| {
        let sell = kept(&mut problems, token(chain, &request.sell_token, "sellToken"));
        let buy = kept(&mut problems, token(chain, &request.buy_token, "buyToken"));
        if sell.is_some() && sell == buy {
            problems.push(wrong("buyToken", "must be another token than sellToken"));
        }
        problems.extend(request.taker.as_deref().and_then(|taker| taker_problem(chain, taker)));
        (chain, sell, buy)
    });
    if request.sell_amount == Units::ZERO {
        problems.push(wrong("sellAmount", "must be more than zero"));
    }
    let slippage = u32::try_from(request.slippage_bps).ok().filter(|points| *points <= MAX_SLIPPAGE_BPS);
    let slippage = slippage.ok_or_else(|| wrong("slippageBps", "must be 0 to 5000"));
    let slippage = kept(&mut problems, slippage);
    match (named, slippage) {
        (Some((chain, Some(sell), Some(buy))), Some(slippage_bps)) if problems.is_empty() => {
            let (sell, buy) = (sell.clone(), buy.clone());
            let taker = request.taker.as_deref().map(Into::into);
            let ask = QuoteAsk { sell, buy, sell_amount: request.sell_amount, slippage_bps, taker };
            Ok(Checked { ask, native: chain.native().clone() })
        }
        _ => Err(SwapError::Invalid(problems)),
    }
}

fn chain<'a>(request: &SwapRequest, tokens: &'a Tokens, venues: &[Venue]) -> Result<&'a ChainTokens, FieldError> {
    let chain = tokens.chain(&request.chain).map_err(|error| token_problem(&error, "chain"))?;
    if venues.iter().any(|venue| venue.adapter.serves(&chain.id)) {
        Ok(chain)
    } else {
        Err(wrong("chain", "no venue that is asked here serves this chain"))
    }
}

fn token<'a>(chain: &'a ChainTokens, text: &str, field: &str) -> Result<&'a Token, FieldError> {
    chain.find(text).map_err(|error| token_problem(&error, field))
}

fn token_problem(error: &TokenError, field: &str) -> FieldError {
    let candidates = match error {
        TokenError::UnknownChain { known } => known.iter().map(ToString::to_string).collect(),
        TokenError::NoAddress { candidates, .. } => candidates.iter().map(ToString::to_string).collect(),
        TokenError::UnknownAddress => Vec::new(),
    };
    wrong(field, &error.to_string()).candidates(candidates)
}

/// The shape alone: whose address it is, is between the caller and the venue.
fn taker_problem(chain: &ChainTokens, taker: &str) -> Option<FieldError> {
    let shape = chain.family.shape();
    (!chain.family.is_address(taker)).then(|| wrong("taker", &format!("must be an address of the chain, {shape}")))
}

fn wrong(field: &str, message: &str) -> FieldError {
    FieldError::new(&["input", field], message)
}

fn kept<T>(problems: &mut Vec<FieldError>, found: Result<T, FieldError>) -> Option<T> {
    found.map_err(|problem| problems.push(problem)).ok()
}
