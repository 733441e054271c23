//! The audit log, each body on both databases: a row for every change and with it, and tampering of every kind, found.

use serde_json::json;
use tidegate::{
    app::Kept,
    audit::{Audit, AuditFilter, AuditResult, Entry, Flaw, Verdict},
    config::Config,
    events::{Begun, Command},
    model::{Clock, Origin},
    store::{StoreParts, Stores},
};

use crate::harness::{FreshDatabase, TestApp, on_both, program};

on_both! {
    what_is_recorded_is_listed_and_verifies
    a_row_shares_the_fate_of_its_change
    writers_on_two_nodes_keep_one_chain_a_lane
    tampering_is_found_and_named
    the_command_says_so_with_its_exit_code
    operators_read_it_by_the_front_door
}

struct Node {
    stores: Stores,
    audit: Audit,
    kept: Kept,
}

async fn node(database: &FreshDatabase) -> Node {
    let mut config = Config::defaults();
    config.database = database.config.clone();
    let kept = Kept::open(&config, &StoreParts::alone(Clock::system())).await.expect("it opens");
    Node { stores: kept.stores.clone(), audit: kept.audit.clone(), kept }
}

fn command(user: &str) -> Command {
    Command { user_id: user.into(), correlation_id: "request".into(), causation_id: None, key: None }
}

fn origin() -> Origin {
    Origin::new([192, 0, 2, 7].into(), Some("curl/8"))
}

fn entry(number: usize) -> Entry {
    Entry::done("thing.change", format!("thing:{number}"), json!({"b": number, "a": {"d": [true, null], "c": "ü"}}))
}

async fn record(audit: &Audit, user: &str, number: usize) {
    audit.record_alone(command(user), &origin(), entry(number)).await.unwrap();
}

async fn sound(audit: &Audit) -> (u64, u64) {
    match audit.verify().await.unwrap() {
        Verdict::Sound { rows, checkpoints } => (rows, checkpoints),
        Verdict::Broken(flaw) => panic!("{flaw}"),
    }
}

async fn what_is_recorded_is_listed_and_verifies(database: FreshDatabase) {
    let node = node(&database).await;
    assert_eq!(sound(&node.audit).await, (0, 0));
    assert!(!node.audit.sign_checkpoint().await.unwrap(), "there is nothing to sign");
    for number in 0..25 {
        record(&node.audit, &format!("user-{}", number % 5), number).await;
    }
    let refused = Entry { result: AuditResult::Refused, ..entry(25) };
    node.audit.record_alone(command("user-0"), &origin(), refused).await.unwrap();
    assert!(node.audit.sign_checkpoint().await.unwrap());
    assert!(!node.audit.sign_checkpoint().await.unwrap(), "nothing new");
    record(&node.audit, "user-0", 26).await;
    assert_eq!(sound(&node.audit).await, (27, 1));

    let first = node.audit.page(&AuditFilter::default(), None, 20).await.unwrap();
    assert!(first.more && first.rows.is_sorted_by_key(|row| std::cmp::Reverse(row.id)));
    let rest = node.audit.page(&AuditFilter::default(), first.rows.last().map(|row| row.id), 20).await.unwrap();
    assert_eq!((first.rows.len(), rest.rows.len(), rest.more), (20, 7, false));
    let row = &first.rows[1];
    assert_eq!((row.user_id.as_str(), row.action.as_str(), row.result.as_str()), ("user-0", "thing.change", "REFUSED"));
    assert_eq!((row.source_address.as_str(), row.user_agent.as_deref()), ("192.0.2.7", Some("curl/8")));
    assert_eq!(row.metadata, entry(25).metadata);
    let filter = AuditFilter { user_id: Some("user-1".into()), action: Some("thing.change".into()) };
    assert_eq!(node.audit.page(&filter, None, 100).await.unwrap().rows.len(), 5);
    let nothing = AuditFilter { user_id: None, action: Some("other".into()) };
    assert!(node.audit.page(&nothing, None, 100).await.unwrap().rows.is_empty());
}

async fn a_row_shares_the_fate_of_its_change(database: FreshDatabase) {
    let node = node(&database).await;
    for lasts in [false, true] {
        let Begun::Fresh(mut work) = node.audit.begin(command("alice"), &[]).await.unwrap() else { panic!("no key") };
        node.audit.record(&mut work, &origin(), entry(1)).await.unwrap();
        if lasts {
            work.commit(json!(null)).await.unwrap();
        } else {
            drop(work);
        }
        assert_eq!(sound(&node.audit).await.0, u64::from(lasts));
    }
}

async fn writers_on_two_nodes_keep_one_chain_a_lane(database: FreshDatabase) {
    let nodes = [node(&database).await, node(&database).await];
    let writers = (0..8).map(|writer| {
        let audit = nodes[writer % 2].audit.clone();
        tokio::spawn(async move {
            for number in 0..15 {
                record(&audit, &format!("user-{}", (writer + number) % 6), number).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    nodes[0].audit.sign_checkpoint().await.unwrap();
    assert_eq!(sound(&nodes[1].audit).await, (120, 1));
}

/// What is done to the tables, which row is named for it, and how.
const TAMPERING: &[(&str, Option<i64>, &str)] = &[
    ("UPDATE audit_log SET user_id = 'bob' WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET action = 'other' WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET resource = 'other' WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET result = 'FAILED' WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET metadata = '{}' WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET source_address = '::1' WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET user_agent = NULL WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET \"time\" = '2026-01-01T00:00:00Z' WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET hash = previous_hash WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET previous_hash = hash WHERE id = 4", Some(4), "does not follow"),
    ("UPDATE audit_log SET lane = 99 WHERE id = 9", Some(9), "in no lane"),
    ("DELETE FROM audit_log WHERE id = 1", Some(2), "missing"),
    ("DELETE FROM audit_log WHERE id = 4", Some(5), "missing"),
    ("DELETE FROM audit_log WHERE id = 9", None, "cut off"),
    ("DELETE FROM audit_log WHERE id > 5", None, "cut off"),
    ("DELETE FROM audit_log", None, "cut off"),
    (
        "UPDATE audit_log SET number = 100 - number; UPDATE audit_log SET number = number - 90",
        Some(9),
        "does not follow",
    ),
    ("UPDATE audit_checkpoints SET row_count = 5 WHERE id = 1", None, "checkpoint 1 is not signed"),
    ("UPDATE audit_checkpoints SET heads = '{}', row_count = 0 WHERE id = 2", None, "checkpoint 2 is not signed"),
    ("UPDATE audit_checkpoints SET signature = public_key WHERE id = 2", None, "checkpoint 2 is not signed"),
    ("DELETE FROM audit_checkpoints WHERE id = 1", None, "checkpoint 2 is not signed"),
];

async fn tampering_is_found_and_named(database: FreshDatabase) {
    let node = node(&database).await;
    // One lane, so that the ids are 1 to 9.
    for number in 1..=6 {
        record(&node.audit, "alice", number).await;
    }
    node.audit.sign_checkpoint().await.unwrap();
    for number in 7..=9 {
        record(&node.audit, "alice", number).await;
    }
    node.audit.sign_checkpoint().await.unwrap();
    assert_eq!(sound(&node.audit).await, (9, 2));
    for sql in [
        "CREATE TABLE kept_rows AS SELECT * FROM audit_log",
        "CREATE TABLE kept_checkpoints AS SELECT * FROM audit_checkpoints",
    ] {
        database.execute(&node.stores, sql).await;
    }
    for (sql, row, what) in TAMPERING {
        database.execute_each(&node.stores, sql).await;
        match node.audit.verify().await.unwrap() {
            Verdict::Broken(Flaw { row: found, what: said }) => {
                assert_eq!(found, *row, "{sql}: {said}");
                assert!(said.contains(what), "{sql}: {said}");
            }
            Verdict::Sound { .. } => panic!("not found: {sql}"),
        }
        let restore = "DELETE FROM audit_log; DELETE FROM audit_checkpoints; \
            INSERT INTO audit_checkpoints SELECT * FROM kept_checkpoints";
        database.execute_each(&node.stores, restore).await;
        let rows = if database.is_sqlite() {
            "INSERT INTO audit_log SELECT * FROM kept_rows"
        } else {
            "INSERT INTO audit_log OVERRIDING SYSTEM VALUE SELECT * FROM kept_rows"
        };
        database.execute(&node.stores, rows).await;
        assert_eq!(sound(&node.audit).await, (9, 2), "restored after {sql}");
    }
    a_chain_made_anew_is_found(&database, &node).await;
    drop(node.kept);
}

/// Whoever has the database and not the key makes a chain that fits, but no checkpoint for it.
async fn a_chain_made_anew_is_found(database: &FreshDatabase, node: &Node) {
    database.execute_each(&node.stores, "DELETE FROM audit_log WHERE id > 7").await;
    for number in 8..=9 {
        record(&node.audit, "alice", number + 100).await;
    }
    match node.audit.verify().await.unwrap() {
        Verdict::Broken(Flaw { row: Some(_), what }) => {
            assert!(what.contains("after number 6 was rewritten"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    // Nor does the server sign it for them.
    assert!(!node.audit.sign_checkpoint().await.unwrap());
    record(&node.audit, "alice", 200).await;
    assert!(!node.audit.sign_checkpoint().await.unwrap());
    assert!(matches!(node.audit.verify().await.unwrap(), Verdict::Broken(_)));
}

async fn the_command_says_so_with_its_exit_code(database: FreshDatabase) {
    if database.is_sqlite() {
        let output = program(&database.config).args(["audit", "verify"]).output().await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("tidegate.db: "), "nothing is no audit log: {said}");
    }
    let node = node(&database).await;
    for number in 1..=3 {
        record(&node.audit, "alice", number).await;
    }
    let verify = async || program(&database.config).args(["audit", "verify"]).output().await.expect("it runs");
    let output = verify().await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3 rows and 0 checkpoints are as they were written\n");
    database.execute(&node.stores, "UPDATE audit_log SET resource = 'other' WHERE id = 2").await;
    let output = verify().await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with("error: row 2: number 2 of lane ") && said.ends_with("is not as it was written\n"),
        "{said}"
    );
}

async fn operators_read_it_by_the_front_door(database: FreshDatabase) {
    let app = TestApp::builder().database(&database).start().await;
    for document in [
        "mutation { updateEmotion(feedback: 7) { points } }",
        "mutation { addMemory(content: \"never in the audit log\") { id } }",
    ] {
        assert!(app.alice().query(document).await.json()["errors"].is_null());
    }
    let admin = app.admin();
    for document in [
        "mutation { upstreamForceOpen(input: {name: \"coinbase\"}) { userErrors { code } } }",
        "mutation { cacheInvalidate(input: {tags: [\"a\"]}) { userErrors { code } } }",
    ] {
        assert!(admin.query(document).await.json()["errors"].is_null());
    }
    let asked = "{ auditLog(first: 2) { nodes { user action resource result metadata sourceAddress userAgent time }
        pageInfo { hasNextPage endCursor } } }";
    let reply = admin.query(asked).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let page = reply.json()["data"]["auditLog"].clone();
    let newest = &page["nodes"][0];
    for (field, value) in [
        ("user", "admin"),
        ("action", "cache.invalidate"),
        ("resource", "cache"),
        ("result", "SUCCESS"),
        ("metadata", "{\"keys\":[],\"tags\":[\"a\"]}"),
        ("sourceAddress", "127.0.0.1"),
    ] {
        assert_eq!(newest[field], value, "{newest}");
    }
    assert_eq!(page["pageInfo"]["hasNextPage"], true);
    let after = page["pageInfo"]["endCursor"].as_str().unwrap();
    let rest =
        admin.query(&format!("{{ auditLog(after: {after:?}) {{ nodes {{ user action resource metadata }} }} }}")).await;
    assert!(!rest.text.contains("never in the audit log"));
    let rest = rest.json()["data"]["auditLog"]["nodes"].clone();
    assert_eq!(rest[0]["action"], "memory.add", "{rest}");
    let feeling = json!({"user": "alice", "action": "emotion.update", "resource": "emotion:alice",
        "metadata": "{\"feedback\":7,\"points\":4}"});
    assert_eq!(rest[1], feeling);
    let of_alice = admin.query("{ auditLog(user: \"alice\", action: \"memory.add\") { nodes { id } } }").await.json();
    assert_eq!(of_alice["data"]["auditLog"]["nodes"].as_array().unwrap().len(), 1);
    let nobody = admin.query("{ auditLog(user: \"a\\u0000\") { nodes { id } } }").await.json();
    assert_eq!(nobody["data"]["auditLog"]["nodes"], json!([]), "{nobody}");
    app.alice().query(asked).await.refused(403, "FORBIDDEN");
    let bad = admin.query("{ auditLog(first: 0, after: \"x\", user: \"a\\u0000\") { nodes { id } } }").await;
    assert_eq!(bad.code(), "BAD_USER_INPUT");
    assert_eq!(bad.json()["errors"][0]["extensions"]["fields"].as_array().unwrap().len(), 2);
}
