//! Every mutation of the schema with input that makes no sense: a coded refusal with the way to its field, never a fault
//! of ours. A mutation that is not in the table fails the test.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate::model::Chance;

use crate::harness::{FreshDatabase, TestApp, on_both};

on_both! {
    no_mutation_is_at_fault_whatever_it_is_sent
}

/// A mutation: its name, the type of its one argument, and the fields of that where it is an input.
const MUTATIONS: &[(&str, &str, &str, &[&str])] = &[
    ("updateEmotion", "feedback", "Int!", &[]),
    ("addMemory", "content", "String!", &[]),
    ("memoryForget", "input", "MemoryForgetInput!", &["id"]),
    ("cacheInvalidate", "input", "CacheInvalidateInput!", &["keys", "tags"]),
    ("upstreamForceOpen", "input", "UpstreamInput!", &["name"]),
    ("upstreamForceClose", "input", "UpstreamInput!", &["name"]),
    ("upstreamReset", "input", "UpstreamInput!", &["name"]),
    ("apiKeyCreate", "input", "ApiKeyCreateInput!", &["name", "subject", "role", "expiresAt"]),
    ("apiKeyRevoke", "input", "ApiKeyRevokeInput!", &["id"]),
    ("tokenRevoke", "input", "TokenRevokeInput!", &["jti", "token", "expiresAt"]),
    ("subjectTokensRevoke", "input", "SubjectTokensRevokeInput!", &["subject", "issuedBefore"]),
    ("secondFactorConfirm", "input", "SecondFactorConfirmInput!", &["code"]),
    ("secondFactorDisable", "input", "SecondFactorDisableInput!", &["subject"]),
    ("secondFactorEnroll", "input", "SecondFactorEnrollInput!", &[]),
    ("stepUp", "input", "StepUpInput!", &["code"]),
    ("mcpServerRegister", "input", "McpServerRegisterInput!", &["name", "config", "enabled"]),
    ("mcpServerUpdate", "input", "McpServerUpdateInput!", &["id", "config"]),
    ("mcpServerRemove", "input", "McpServerInput!", &["id"]),
    ("mcpServerEnable", "input", "McpServerInput!", &["id"]),
    ("mcpServerDisable", "input", "McpServerInput!", &["id"]),
    ("mcpServerCheck", "input", "McpServerInput!", &["id"]),
    ("mcpToolApprove", "input", "McpToolApproveInput!", &["serverId", "tool", "fingerprint"]),
    ("mcpToolCall", "input", "McpToolCallInput!", &["tool", "arguments", "runId", "timeoutMs"]),
    ("transactionSend", "input", "TransactionSendInput!", &["chain", "signedTransaction"]),
];

/// What a refusal may say; never that we are at fault.
const CODES: &[&str] = &["BAD_USER_INPUT", "NOT_FOUND", "RATE_LIMITED", "FORBIDDEN", "GRAPHQL_VALIDATION_FAILED"];

/// A value that nobody means.
fn nonsense(chance: &Chance, depth: u32) -> Value {
    match chance.number() % if depth == 0 { 11 } else { 13 } {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(chance.number().cast_signed()),
        3 => json!(chance.fraction() * 1e300),
        4 => json!(""),
        5 => json!("\0"),
        6 => json!("' OR 1=1; DROP TABLE events; --"),
        7 => json!("\u{202e}🌊\u{0}é".repeat(usize::try_from(chance.number() % 4_000).unwrap_or_default())),
        8 => json!("9999-99-99T99:99:99Z"),
        9 => json!("+262143-01-01T00:00:00Z"),
        10 => json!(i64::from(u32::MAX)),
        11 => (0..chance.number() % 4).map(|_| nonsense(chance, depth - 1)).collect(),
        _ => json!({"name": nonsense(chance, depth - 1), "__proto__": nonsense(chance, depth - 1)}),
    }
}

fn input(chance: &Chance, fields: &[&str]) -> Value {
    if fields.is_empty() || chance.fraction() < 0.1 {
        return nonsense(chance, 2);
    }
    let given = fields.iter().filter(|_| chance.fraction() < 0.9);
    given.map(|field| ((*field).to_owned(), nonsense(chance, 2))).collect()
}

/// The names of all mutations, as the contract has them.
fn declared() -> BTreeSet<String> {
    let schema = include_str!("../../schema.graphql");
    let start = schema.find("type Mutation {").expect("there are mutations");
    let body = &schema[start..start + schema[start..].find("\n}").expect("it ends")];
    let names = body.lines().filter(|line| line.starts_with("  ") && line.contains('('));
    names
        .filter_map(|line| Some(line.trim().split_once('(')?.0.to_owned()))
        .filter(|name| !name.contains(' '))
        .collect()
}

async fn no_mutation_is_at_fault_whatever_it_is_sent(database: FreshDatabase) {
    let tried: BTreeSet<String> = MUTATIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(tried, declared(), "every mutation is tried");
    let app = TestApp::builder().database(&database).start().await;
    let (admin, chance) = (app.admin(), Chance::seeded(4));
    for (name, argument, kind, fields) in MUTATIONS {
        let document = if *argument == "input" {
            format!("mutation ($x: {kind}) {{ {name}(input: $x) {{ userErrors {{ code field message }} }} }}")
        } else {
            format!("mutation ($x: {kind}) {{ {name}({argument}: $x) {{ __typename }} }}")
        };
        for _ in 0..60 {
            let sent = json!({"query": document, "variables": {"x": input(&chance, fields)}});
            let reply = admin.post(&sent).await;
            let json = reply.json();
            assert!(reply.status.as_u16() < 500, "{sent}: {}", reply.text);
            for error in json["errors"].as_array().into_iter().flatten() {
                let code = error["extensions"]["code"].as_str().unwrap_or_default();
                assert!(CODES.contains(&code), "{sent}: {error}");
            }
            for error in json["data"][name]["userErrors"].as_array().into_iter().flatten() {
                let path = error["field"].as_array().is_some_and(|path| path.first() == Some(&json!("input")));
                assert!(path && error["code"].is_string(), "{sent}: {error}");
            }
        }
    }
}
