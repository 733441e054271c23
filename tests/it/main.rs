//! The integration suite: one binary, entered by the front door as anon, alice (USER) and admin (ADMIN).
//!
//! `harness/` starts the server and plays its callers. A new area gets a file `<area>_<topic>.rs` and a line here.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::format_collect,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, waits in real time, says why it is skipped, and writes documents by hand"
)]

mod harness;

mod access;
mod agent_state;
mod architecture;
mod audit_log;
mod auth_keys;
mod auth_state;
mod bus_redis;
mod cache_contract;
mod cache_invalidate;
mod cache_shared;
mod chains_events;
mod chains_failover;
mod chains_reads;
mod chains_sandbox;
mod chains_send;
mod chains_transactions;
mod config;
mod database_outages;
mod events_log;
mod fuzz_mutations;
mod graphql_admission;
mod graphql_answers;
mod graphql_live;
mod graphql_prices;
mod graphql_resume;
mod http_bad_input;
mod http_connections;
mod http_negotiation;
mod http_pages;
mod http_requests;
mod kill;
mod killed_harness;
mod limits_node;
mod limits_outage;
mod limits_script;
mod limits_shared;
mod market_cluster;
mod market_faults;
mod mcp_calls;
mod mcp_endpoint;
mod mcp_endpoint_streams;
mod mcp_harness;
mod mcp_registry;
mod mcp_runs;
mod mcp_servers;
mod mcp_standing;
mod mcp_storm;
mod nodes_harness;
mod postgres_harness;
mod process;
mod redis_channels;
mod redis_chaos;
mod redis_harness;
mod redis_link;
mod schema;
mod secrets_in_logs;
mod sse_streams;
mod swaps;
mod swaps_uniswap;
mod ws_faults;
mod ws_protocol;
mod ws_shutdown;
