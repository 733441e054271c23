//! A node of one's own in place of a stand-in. Of which chain it is, the node itself is asked.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use serde_json::{Value, json};
use thiserror::Error;

use super::{Vendor, base58};
use crate::{
    chains::Network,
    config::{ChainsConfig, EndpointEntry, NetworkEntry, NetworkIdentity},
    model::ChainId,
    resilience::{CallError, Outbound},
};

/// What the endpoint is called.
const NAME: &str = "given";
/// Longer than a node takes that is of any use.
const PATIENCE: Duration = Duration::from_secs(5);
/// What fees are paid in where the chain is not known: development nodes call it so.
const UNKNOWN_SYMBOL: &str = "ETH";

/// Why a node of one's own cannot be used. Says nothing of its URL, which may hold a key.
#[derive(Debug, Error)]
pub enum GivenError {
    /// There is no such URL.
    #[error("expected an http or https URL")]
    NoUrl,
    /// It could not be asked.
    #[error("the node cannot be asked: {0}")]
    Call(#[from] CallError),
    /// It is no node of the family.
    #[error("what answers there is no such node: its answer to {0} makes no sense")]
    Nonsense(&'static str),
}

/// Has the node at a URL answer for the chain that it is of, instead of whoever was to; says which chain that is.
///
/// A chain that is not known takes the place of the one that the stand-in stands in for.
pub async fn take_given(
    vendor: Vendor,
    url: &str,
    outbound: &Outbound,
    config: &mut ChainsConfig,
) -> Result<ChainId, GivenError> {
    let entry = EndpointEntry::parse(&format!("{}/{NAME}={url}", vendor.path())).map_err(|_| GivenError::NoUrl)?;
    let identity = identity(vendor, &entry, outbound).await?;
    let chain = Network::known_as(&identity, &config.networks).unwrap_or_else(|| {
        config.networks.push(NetworkEntry { chain: entry.chain.clone(), identity });
        entry.chain.clone()
    });
    config.endpoints.retain(|other| other.chain != chain);
    config.endpoints.push(EndpointEntry { chain: chain.clone(), ..entry });
    Ok(chain)
}

async fn identity(vendor: Vendor, entry: &EndpointEntry, outbound: &Outbound) -> Result<NetworkIdentity, GivenError> {
    let method = if vendor == Vendor::Solana { "getGenesisHash" } else { "eth_chainId" };
    let said = ask(method, entry, outbound).await?;
    let text = said.as_str().ok_or(GivenError::Nonsense(method))?;
    let identity = if vendor == Vendor::Solana {
        base58::decode(text).map(|_| NetworkIdentity::Solana { genesis: text.to_owned() })
    } else {
        let number = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.map(|number| NetworkIdentity::Evm { number, symbol: UNKNOWN_SYMBOL.to_owned() })
    };
    identity.ok_or(GivenError::Nonsense(method))
}

async fn ask(method: &'static str, entry: &EndpointEntry, outbound: &Outbound) -> Result<Value, GivenError> {
    let url = entry.url.expose().parse().map_err(|_| GivenError::NoUrl)?;
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let body = Bytes::from(json!({ "jsonrpc": "2.0", "id": 0, "method": method, "params": [] }).to_string());
    let reply = tokio::time::timeout(PATIENCE, outbound.post(url, headers, body)).await;
    let reply = reply.unwrap_or(Err(CallError::Timeout))?;
    let mut answer: Value = serde_json::from_slice(&reply.body).map_err(|_| GivenError::Nonsense(method))?;
    Ok(answer["result"].take())
}
