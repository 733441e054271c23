//! The integration suite: one binary, entered by the front door as anon, alice (USER) and admin (ADMIN).
//!
//! `harness/` starts the server and plays its callers. A new area gets a file `<area>_<topic>.rs` and a line here.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::format_collect,
    reason = "a test that cannot go on fails, waits in real time, and writes documents by hand"
)]

mod harness;

mod architecture;
mod auth_keys;
mod config;
mod graphql_admission;
mod graphql_answers;
mod graphql_live;
mod graphql_prices;
mod http_bad_input;
mod http_connections;
mod http_negotiation;
mod http_pages;
mod http_requests;
mod market_faults;
mod process;
mod schema;
mod sse_streams;
mod ws_faults;
mod ws_protocol;
mod ws_shutdown;
