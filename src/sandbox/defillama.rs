//! DefiLlama's `GET /prices/current/{coins}`: JSON numbers by `coingecko:ID`, unknown coins absent.

use axum::{Router, extract::Path, response::Response, routing::get};

use super::vendor::{Listed, Stand};
use crate::{
    market::Catalogue,
    model::{AssetId, Timestamp},
};

pub(super) fn router(stand: Stand) -> Router {
    let answer = async move |Path(keys): Path<String>| prices(&stand, keys).await;
    Router::new().route("/prices/current/{coins}", get(answer))
}

async fn prices(stand: &Stand, keys: String) -> Response {
    let ids = keys.split(',').filter_map(|key| key.strip_prefix("coingecko:"));
    let asked: Vec<AssetId> = ids.filter_map(|id| AssetId::new(id).ok()).collect();
    let now = stand.clock.now();
    stand.answer(&asked, |listed| write(listed, &stand.catalogue, now)).await
}

fn write(listed: &[Listed], catalogue: &Catalogue, now: Timestamp) -> String {
    let entries = listed.iter().map(|entry| {
        let symbol = catalogue.find(entry.coin.as_str()).map_or("", |coin| &coin.symbol);
        let price = entry.amount.map_or_else(|| "null".to_owned(), |amount| amount.to_string());
        format!(
            r#""coingecko:{}":{{"price":{price},"symbol":"{symbol}","timestamp":{},"confidence":0.99}}"#,
            entry.coin,
            now.timestamp()
        )
    });
    format!(r#"{{"coins":{{{}}}}}"#, entries.collect::<Vec<_>>().join(","))
}
