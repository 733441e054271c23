//! Tidegate: one GraphQL endpoint in front of MCP servers, crypto market data and blockchains.
//!
//! The rooms, lowest first. A room imports only rooms above it in this list; ARCHITECTURE.md says which.

pub mod model;

pub mod config;
pub mod secrets;
pub mod telemetry;

pub mod resilience;
pub mod store;

pub mod bus;
pub mod cache;
pub mod limits;

pub mod events;
pub mod vault;

pub mod audit;

pub mod auth;

pub mod chains;

pub mod market;
pub mod mcp;

pub mod agent;

pub mod graphql;
pub mod http;

pub mod app;
pub mod commands;
pub mod sandbox;
