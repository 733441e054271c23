//! Coinbase's `GET /api/v3/brokerage/market/products`: decimal texts by product, unlisted products absent.

use axum::{Router, extract::RawQuery, response::Response, routing::get};
use url::form_urlencoded::parse;

use super::vendor::{Listed, Stand};
use crate::{
    market::{Catalogue, Listing},
    model::AssetId,
};

pub(super) fn router(stand: Stand) -> Router {
    let answer = async move |RawQuery(query): RawQuery| products(&stand, query.unwrap_or_default()).await;
    Router::new().route("/api/v3/brokerage/market/products", get(answer))
}

async fn products(stand: &Stand, query: String) -> Response {
    let listed = |product: &str| stand.catalogue.iter().find(|coin| coin.coinbase.as_deref() == Some(product));
    let wanted = parse(query.as_bytes()).filter(|(name, _)| name == "product_ids");
    let asked: Vec<AssetId> = wanted.filter_map(|(_, product)| Some(listed(&product)?.id.clone())).collect();
    stand.answer(&asked, |listed| write(listed, &stand.catalogue)).await
}

fn write(listed: &[Listed], catalogue: &Catalogue) -> String {
    let product = |entry: &Listed| {
        let Listing { symbol, name, coinbase, .. } = catalogue.find(entry.coin.as_str())?;
        let price = entry.amount.map(|amount| amount.to_string()).unwrap_or_default();
        Some(serde_json::json!({
            "product_id": coinbase,
            "price": price,
            "price_percentage_change_24h": entry.quote.change24h.to_string(),
            "mid_market_price": "",
            "base_currency_id": symbol,
            "base_name": name,
            "quote_currency_id": "USD",
            "product_type": "SPOT",
            "status": "online",
            "is_disabled": false,
        }))
    };
    let products: Vec<_> = listed.iter().filter_map(product).collect();
    serde_json::json!({ "num_products": products.len(), "products": products }).to_string()
}
