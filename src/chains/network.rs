//! What is known of each chain before anybody is asked.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use crate::{
    config::{NetworkEntry, NetworkIdentity},
    model::{AssetId, ChainId, Token},
};

const EVM_DECIMALS: u8 = 18;
const SOLANA_DECIMALS: u8 = 9;

/// A chain, as one knows it before anybody is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its id.
    pub id: ChainId,
    /// What people call it.
    pub name: Arc<str>,
    /// How it can be told from others, which also says of which family it is.
    pub identity: NetworkIdentity,
    /// What fees are paid in.
    pub native: Arc<Token>,
    /// Its values are made up by a stand-in.
    pub simulated: bool,
}

/// The chains that are known by heart, and what the configuration says of others.
#[derive(Debug)]
pub(super) struct Networks(BTreeMap<ChainId, Network>);

#[derive(Deserialize)]
struct File {
    networks: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: ChainId,
    name: String,
    evm: Option<u64>,
    solana: Option<String>,
    symbol: String,
    coin: Option<AssetId>,
}

impl Networks {
    /// # Panics
    /// Never: the embedded file is read by a test.
    pub(super) fn new(given: &[NetworkEntry]) -> Self {
        let file: File = toml::from_str(include_str!("networks.toml")).expect("the embedded file is good");
        let known = file.networks.into_iter().map(|line| (line.id.clone(), Network::known(line)));
        let given = given.iter().map(|entry| (entry.chain.clone(), Network::given(entry)));
        Self(known.chain(given).collect())
    }

    pub(super) fn find(&self, id: &ChainId) -> Option<Network> {
        self.0.get(id).cloned()
    }
}

impl Network {
    /// By which id a chain is known, by heart or because the configuration says so.
    #[must_use]
    pub fn known_as(identity: &NetworkIdentity, given: &[NetworkEntry]) -> Option<ChainId> {
        let is_it = |network: &Network| match (&network.identity, identity) {
            (NetworkIdentity::Evm { number, .. }, NetworkIdentity::Evm { number: wanted, .. }) => number == wanted,
            (one, other) => one == other,
        };
        Networks::new(given).0.into_values().find(is_it).map(|network| network.id)
    }

    fn known(line: Line) -> Self {
        let Line { id, name, evm, solana, symbol, coin } = line;
        let identity = match (evm, solana) {
            (Some(number), _) => NetworkIdentity::Evm { number, symbol },
            (None, genesis) => NetworkIdentity::Solana { genesis: genesis.unwrap_or_default() },
        };
        Self::new(id, &name, identity, coin)
    }

    fn given(entry: &NetworkEntry) -> Self {
        Self::new(entry.chain.clone(), entry.chain.as_str(), entry.identity.clone(), None)
    }

    fn new(id: ChainId, name: &str, identity: NetworkIdentity, coin: Option<AssetId>) -> Self {
        let (symbol, decimals) = match &identity {
            NetworkIdentity::Evm { symbol, .. } => (symbol.as_str(), EVM_DECIMALS),
            NetworkIdentity::Solana { .. } => ("SOL", SOLANA_DECIMALS),
        };
        let native = Arc::new(Token { chain: id.clone(), address: None, symbol: symbol.into(), decimals, coin });
        Self { id, name: name.into(), identity, native, simulated: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_file_is_good_and_the_configuration_goes_before_it() {
        let id = |text: &str| ChainId::new(text).unwrap();
        let given = [NetworkEntry::try_from("ethereum=evm:31337:TST".to_owned()).unwrap()];
        let (known, changed) = (Networks::new(&[]), Networks::new(&given));
        let base = known.find(&id("base")).unwrap();
        assert_eq!(base.identity, NetworkIdentity::Evm { number: 8_453, symbol: "ETH".to_owned() });
        assert_eq!((base.native.decimals, base.native.coin.as_ref().unwrap().as_str()), (18, "ethereum"));
        assert_eq!(known.find(&id("solana")).unwrap().native.decimals, 9);
        assert_eq!(&*changed.find(&id("ethereum")).unwrap().native.symbol, "TST");
        assert_eq!(known.find(&id("devnet")), None);
        let number = |number| NetworkIdentity::Evm { number, symbol: "ANY".to_owned() };
        assert_eq!(Network::known_as(&number(8_453), &[]), Some(id("base")));
        assert_eq!(Network::known_as(&number(31_337), &[]), None);
        assert_eq!(Network::known_as(&number(31_337), &given), Some(id("ethereum")));
        let devnet = NetworkIdentity::Solana { genesis: "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG".to_owned() };
        assert_eq!(Network::known_as(&devnet, &[]), Some(id("solana-devnet")));
    }
}
