//! Every metric there is: its name, kind, labels and meaning.

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

/// What a metric's value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It gathers samples in buckets.
    Histogram,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name, `tidegate_…`, ending in its unit where it has one.
    pub name: &'static str,
    /// What its value does.
    pub kind: MetricKind,
    /// The names of its labels. Their values are few: never a subject, an address or an id.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// Every metric, by room.
pub const METRICS: &[Metric] = &[
    gauge("tidegate_build_info", &["version"], "Always 1; the label says which version runs."),
    gauge("process_start_time_seconds", &[], "When the process started, in seconds since 1970."),
    gauge("process_resident_memory_bytes", &[], "Memory of the process that is in RAM."),
    gauge("process_cpu_seconds_total", &[], "Processor time that the process has used."),
    counter("tidegate_http_requests_total", &["route", "method", "status"], "HTTP requests answered."),
    histogram("tidegate_http_request_seconds", &["route"], "Time from request to answer."),
    gauge("tidegate_http_connections", &[], "Connections open now."),
    gauge("tidegate_ws_connections", &[], "WebSocket connections open now."),
    gauge("tidegate_ws_operations", &[], "Operations running on WebSocket connections now."),
    counter("tidegate_ws_closes_total", &["code"], "WebSocket connections closed by us, by close code."),
    counter("tidegate_ws_messages_sent_total", &[], "Messages sent on WebSocket connections."),
    gauge("tidegate_sse_streams", &[], "Event streams open now."),
    gauge("tidegate_mcp_listeners", &[], "Clients of /mcp that listen for changes now."),
    counter(
        "tidegate_auth_tokens_total",
        &["outcome"],
        "Tokens and API keys shown: accepted, or the reason for refusing them.",
    ),
    counter("tidegate_auth_key_fetches_total", &["outcome"], "Fetches of the issuer's keys: success or failure."),
    gauge("tidegate_auth_keys", &[], "Usable keys in the issuer's last answer."),
    counter("tidegate_auth_api_key_lookups_total", &["outcome"], "API keys of known form, by where they were found."),
    gauge(
        "tidegate_auth_revocations",
        &["of"],
        "Revoked tokens, and subjects with revoked tokens, that are known here.",
    ),
    counter("tidegate_auth_revocation_reads_total", &["outcome"], "Looks at what was revoked: read or failed."),
    counter("tidegate_auth_factor_attempts_total", &["outcome"], "Codes shown: accepted, or why they were refused."),
    counter(
        "tidegate_auth_factor_demands_total",
        &["outcome"],
        "Demands for a second factor: met, or why they were not.",
    ),
    counter("tidegate_upstream_calls_total", &["upstream", "outcome"], "Calls to an upstream, by how they ended."),
    histogram("tidegate_upstream_call_seconds", &["upstream"], "Duration of calls to an upstream, waits included."),
    counter("tidegate_upstream_retries_total", &["upstream"], "Second and later tries of calls to an upstream."),
    gauge("tidegate_upstream_in_flight", &["upstream"], "Calls to an upstream under way now."),
    gauge("tidegate_breaker_state", &["upstream"], "The upstream's breaker: 0 closed, 1 half-open, 2 open."),
    gauge("tidegate_redis_up", &[], "1 while Redis answers heartbeats."),
    counter("tidegate_redis_connections_lost_total", &[], "Connections to Redis that worked and were given up."),
    counter(
        "tidegate_redis_commands_total",
        &["lane", "outcome"],
        "Commands to Redis, by purpose and by how they ended.",
    ),
    histogram("tidegate_redis_command_seconds", &["lane"], "Time from a command to its answer or its deadline."),
    gauge("tidegate_redis_lines", &[], "Connections to Redis that carry subscriptions."),
    gauge("tidegate_redis_channels", &[], "Channels of Redis that this node is subscribed to, or would be."),
    counter("tidegate_redis_line_losses_total", &["reason"], "Lines that were lost, by how that was noticed."),
    counter("tidegate_redis_dropped_messages_total", &[], "Messages from channels whose reader here was too slow."),
    gauge("tidegate_database_up", &[], "1 while the database can be read and written, as far as is known."),
    counter("tidegate_database_errors_total", &["store", "kind"], "Failed statements and waits, by store and kind."),
    histogram("tidegate_database_wait_seconds", &["store", "op"], "Time until a connection or transaction was there."),
    histogram("tidegate_database_commit_seconds", &["store"], "Time that commits took."),
    counter("tidegate_events_appended_total", &["aggregate"], "Events appended, by the type of their aggregate."),
    counter("tidegate_events_conflicts_total", &[], "Changes refused because their stream had moved on."),
    counter("tidegate_events_repeated_commands_total", &[], "Commands whose idempotency key was used before."),
    gauge(
        "tidegate_events_oldest_writer_seconds",
        &[],
        "Age of the oldest open transaction, which holds readers back.",
    ),
    counter(
        "tidegate_audit_rows_total",
        &["action", "result"],
        "Rows of the audit log, by what was done and how it ended.",
    ),
    counter("tidegate_audit_checkpoints_total", &[], "Checkpoints of the audit log that this node has signed."),
    gauge("tidegate_projection_place", &["projection"], "Number of the last event that the projection has read."),
    counter("tidegate_projection_failures_total", &["projection"], "Times that a projection had to try again."),
    counter("tidegate_cache_lookups_total", &["cache", "outcome"], "Lookups, by how they were answered."),
    counter("tidegate_cache_loads_total", &["cache", "outcome"], "Keys that loads came back with."),
    counter("tidegate_cache_invalidations_total", &["cache"], "Keys, tags and clears asked of the cache."),
    counter("tidegate_cache_shared_total", &["cache", "op", "outcome"], "Values read from Redis, and written to it."),
    counter("tidegate_cache_revocations_total", &["origin"], "Slots revoked on this node, by who said so."),
    gauge("tidegate_cache_mirror_live", &[], "1 while this node hears what the others revoke."),
    gauge("tidegate_cache_owed_revocations", &[], "Slots that the other nodes have not been told of yet."),
    counter("tidegate_cache_reconciliations_total", &["outcome"], "Comparisons with what Redis says was revoked."),
    counter("tidegate_cache_reconciled_slots_total", &[], "Slots that a comparison found to be revoked, unheard of."),
    gauge("tidegate_cache_entries", &["cache"], "Entries kept now."),
    gauge("tidegate_cache_weight_bytes", &["cache"], "Memory of the entries kept now."),
    counter("tidegate_bus_messages_total", &[], "Messages handed to topics that had readers here."),
    counter("tidegate_bus_publishes_total", &["reach"], "Messages sent through Redis, or to this node's readers only."),
    histogram("tidegate_bus_lag_seconds", &[], "Time from the publishing of a message to its arrival on this node."),
    counter("tidegate_bus_replayed_total", &[], "Messages handed to readers who resumed."),
    counter(
        "tidegate_bus_gaps_total",
        &["outcome"],
        "Silences and holes of topics, by whether the history filled them.",
    ),
    counter("tidegate_bus_unreadable_total", &[], "Messages of another version, skipped."),
    counter("tidegate_bus_missed_total", &[], "Messages that readers were told they lost, where the number is known."),
    gauge("tidegate_bus_topics", &[], "Topics that are being read now."),
    gauge("tidegate_bus_subscriptions", &[], "Subscriptions to topics that are open now."),
    counter("tidegate_limit_decisions_total", &["policy", "outcome"], "Limits that were drawn from, or refused."),
    counter("tidegate_limit_backend_total", &["backend"], "Checks by who decided: Redis, memory, or this node alone."),
    gauge("tidegate_limit_keys", &[], "Accounts that the limiter remembers now."),
    counter("tidegate_chain_hedges_total", &["chain"], "Reads that went to a second endpoint as the first was slow."),
    counter("tidegate_chain_reorgs_total", &["chain"], "Times that followed blocks were undone."),
    gauge("tidegate_chain_followed_block", &["chain"], "Number of the newest block whose events were told."),
    gauge("tidegate_chain_followers", &["chain"], "Subscriptions that follow events of the chain."),
    gauge("tidegate_chain_reorg_depth", &["chain"], "How many followed blocks the latest reorganisation has undone."),
    gauge("tidegate_chain_head", &["chain", "endpoint"], "Number of the newest block that an endpoint knows."),
    gauge("tidegate_mcp_sessions", &["server"], "Sessions that are open with MCP servers."),
    counter(
        "tidegate_mcp_session_ends_total",
        &["server", "reason"],
        "Sessions with MCP servers that have ended: died, idle or stopped.",
    ),
    histogram("tidegate_mcp_run_batch_size", &[], "Calls of MCP tools that were recorded in one transaction."),
    counter(
        "tidegate_mcp_runs_dropped_total",
        &[],
        "Ends of calls of MCP tools that were not recorded, as too many were waiting or the database refused.",
    ),
    counter("tidegate_price_rounds_total", &["outcome"], "Coins priced, by how the sources agreed."),
    counter("tidegate_price_rejections_total", &["source", "reason"], "Quotes that did not go into a price."),
    counter("tidegate_price_ticks_total", &[], "Ticks that the feed published."),
    histogram("tidegate_price_age_seconds", &[], "Age of a price when its tick was published."),
    gauge("tidegate_feed_coins", &[], "Coins that somebody watches now."),
    gauge("tidegate_feed_coins_left_out", &[], "Coins that other nodes want and the leader has no room for."),
    gauge("tidegate_feed_leader", &[], "1 on the node that feeds for all."),
    gauge("tidegate_feed_isolated", &[], "1 on a node that feeds only itself, because Redis is out of reach."),
    counter("tidegate_feed_turns_total", &["outcome"], "Turns at the lease of the feed: led, followed, failed."),
    counter("tidegate_swap_quotes_total", &["venue", "outcome"], "Venues asked for a quote, by what came of it."),
    counter("tidegate_swap_rounds_total", &["outcome"], "Swaps asked for, by how many of the venues had a quote."),
    counter("tidegate_graphql_operations_total", &["kind", "answer"], "Operations answered: executed, or kept."),
    histogram("tidegate_graphql_operation_seconds", &["kind"], "Time of an operation after its admission."),
    counter("tidegate_graphql_refusals_total", &["code"], "Requests refused before execution, by code."),
    gauge("tidegate_live_groups", &[], "Distinct subscriptions running now."),
    counter("tidegate_live_left_behind_total", &[], "Followers that were ended because they did not read in time."),
];

/// From a hundred microseconds, a cached answer, to the longest deadline.
const SECONDS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// For counts and sizes.
const AMOUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0, 100_000.0];

pub(super) fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets(AMOUNTS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS))
        .expect("neither list of buckets is empty")
        .build_recorder()
}

pub(super) fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, labels, help }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_metric_is_named_once_by_the_rules() {
        let mut seen = HashSet::new();
        for Metric { name, kind, help, .. } in METRICS {
            assert!(seen.insert(name), "{name} is listed twice");
            assert!(name.starts_with("tidegate_") || name.starts_with("process_"), "{name}");
            let counts = name.ends_with("_total") && !name.starts_with("process_");
            assert_eq!(counts, *kind == MetricKind::Counter, "{name}: only counters end in _total");
            assert!(help.ends_with('.'), "{name}: {help}");
        }
    }
}
