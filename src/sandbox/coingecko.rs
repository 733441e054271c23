//! CoinGecko's `GET /api/v3/simple/price`: JSON numbers by coin id, unknown ids absent.

use axum::{Router, extract::RawQuery, response::Response, routing::get};
use url::form_urlencoded::parse;

use super::vendor::{Listed, Stand};
use crate::model::{AssetId, Timestamp};

pub(super) fn router(stand: Stand) -> Router {
    let answer = async move |RawQuery(query): RawQuery| prices(&stand, query.unwrap_or_default()).await;
    Router::new().route("/api/v3/simple/price", get(answer))
}

async fn prices(stand: &Stand, query: String) -> Response {
    let ids = parse(query.as_bytes()).filter(|(name, _)| name == "ids");
    let asked: Vec<AssetId> =
        ids.flat_map(|(_, ids)| ids.split(',').filter_map(|id| AssetId::new(id).ok()).collect::<Vec<_>>()).collect();
    let now = stand.clock.now();
    stand.answer(&asked, |listed| write(listed, now)).await
}

fn write(listed: &[Listed], now: Timestamp) -> String {
    let entries = listed.iter().map(|entry| match entry.amount {
        Some(amount) => format!(
            r#""{}":{{"usd":{amount},"usd_24h_change":{},"last_updated_at":{}}}"#,
            entry.coin,
            entry.quote.change24h,
            now.timestamp()
        ),
        None => format!(r#""{}":{{"usd":null,"usd_24h_change":null,"last_updated_at":null}}"#, entry.coin),
    });
    format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
}
