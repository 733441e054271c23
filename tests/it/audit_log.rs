//! The audit log, each body on both databases: a row for every change and with it, and tampering of every kind, found.

use chrono::TimeDelta;
use serde_json::json;
use tidegate::{
    app::Kept,
    audit::{Audit, AuditFilter, AuditResult, Entry, Flaw, Verdict},
    config::Config,
    events::{Begun, Command},
    model::{Clock, Origin, Timestamp},
    store::{StoreParts, Stores},
};

use crate::harness::{FreshDatabase, TestApp, on_both, program};

on_both! {
    what_is_recorded_is_listed_and_verifies
    a_row_shares_the_fate_of_its_change
    writers_on_two_nodes_keep_one_chain_a_lane
    tampering_is_found_and_named
    what_cannot_be_read_is_left_out_and_the_rest_shown
    a_row_with_the_largest_id_or_number_is_shown_and_stops_nobody
    one_node_signs_in_an_interval
    the_command_says_so_with_its_exit_code
    operators_read_it_by_the_front_door
}

struct Node {
    stores: Stores,
    audit: Audit,
    kept: Kept,
}

/// Signs whenever it is asked to.
async fn node(database: &FreshDatabase) -> Node {
    node_at(database, Clock::system(), 0).await
}

async fn node_at(database: &FreshDatabase, clock: Clock, checkpoint_seconds: u64) -> Node {
    let mut config = Config::defaults();
    config.database = database.config.clone();
    config.audit.checkpoint_seconds = checkpoint_seconds;
    let kept = Kept::open(&config, &StoreParts::alone(clock)).await.expect("it opens");
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

/// The ids of a page, and whether there are more.
async fn ids(audit: &Audit, before: Option<i64>, first: usize) -> (Vec<i64>, bool) {
    let page = audit.page(&AuditFilter::default(), before, first).await.unwrap();
    (page.rows.iter().map(|row| row.id).collect(), page.more)
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
    ("UPDATE audit_log SET previous_hash = hash WHERE id = 4", Some(4), "is not as it was written"),
    ("UPDATE audit_log SET action = 'other' WHERE id = 6", Some(6), "is not as it was written"),
    ("UPDATE audit_log SET id = 40 WHERE id = 4", Some(40), "is not as it was written"),
    ("UPDATE audit_log SET id = -4 WHERE id = 4", Some(-4), "is not as it was written"),
    ("UPDATE audit_log SET id = 9223372036854775807 WHERE id = 9", Some(i64::MAX), "is not as it was written"),
    ("UPDATE audit_log SET metadata = '{\"n\": 1e400}' WHERE id = 4", Some(4), "its column metadata cannot be read"),
    ("UPDATE audit_log SET \"time\" = 'infinity' WHERE id = 4", Some(4), "its column time cannot be read"),
    ("UPDATE audit_log SET \"time\" = 'infinity' WHERE id = 6", Some(6), "its column time cannot be read"),
    ("UPDATE audit_log SET lane = 99 WHERE id = 9", Some(9), "in no lane"),
    ("DELETE FROM audit_log WHERE id = 1", Some(2), "missing"),
    ("DELETE FROM audit_log WHERE id = 4", Some(5), "missing"),
    ("DELETE FROM audit_log WHERE id = 9", None, "cut off"),
    ("DELETE FROM audit_log WHERE id > 5", None, "cut off"),
    ("DELETE FROM audit_log", None, "cut off"),
    (
        "UPDATE audit_log SET number = 100 - number; UPDATE audit_log SET number = number - 90",
        Some(9),
        "is not as it was written",
    ),
    ("UPDATE audit_checkpoints SET row_count = 5 WHERE id = 1", None, "checkpoint 1 is not signed"),
    ("UPDATE audit_checkpoints SET heads = '{}', row_count = 0 WHERE id = 2", None, "checkpoint 2 is not signed"),
    ("UPDATE audit_checkpoints SET signature = public_key WHERE id = 2", None, "checkpoint 2 is not signed"),
    ("UPDATE audit_checkpoints SET \"time\" = 'infinity' WHERE id = 2", None, "checkpoint 2 is not signed"),
    ("UPDATE audit_checkpoints SET public_key = signature WHERE id = 2", None, "checkpoint 2 is not signed"),
    ("UPDATE audit_checkpoints SET id = 9223372036854775807 WHERE id = 2", None, "is not signed"),
    ("DELETE FROM audit_checkpoints WHERE id = 1", None, "checkpoint 2 is not signed"),
];

/// SQLite keeps whatever it is given.
const TAMPERING_WITH_SQLITE: &[(&str, Option<i64>, &str)] = &[
    ("UPDATE audit_log SET \"time\" = 'x' WHERE id = 4", Some(4), "its column time cannot be read"),
    ("UPDATE audit_log SET \"time\" = '2026-x' WHERE id = 4", Some(4), "its column time cannot be read"),
    ("UPDATE audit_log SET user_id = CAST(x'ff' AS TEXT) WHERE id = 4", Some(4), "its column user_id cannot be read"),
    ("UPDATE audit_log SET hash = 5 WHERE id = 6", Some(6), "its column hash cannot be read"),
    ("UPDATE audit_log SET number = 'x' WHERE id = 4", Some(4), "in no lane"),
    ("UPDATE audit_log SET number = 'x' WHERE id = 9", Some(9), "its column number cannot be read"),
    ("UPDATE audit_log SET number = 4.5 WHERE id = 4", Some(4), "cannot be read"),
    ("UPDATE audit_log SET lane = 'x' WHERE id = 4", Some(4), "in no lane"),
    ("UPDATE audit_log SET lane = lane + 0.5 WHERE id = 9", Some(9), "in no lane"),
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
    let more = if database.is_sqlite() { TAMPERING_WITH_SQLITE } else { &[] };
    for (sql, row, what) in TAMPERING.iter().chain(more) {
        database.execute_each(&node.stores, sql).await;
        match node.audit.verify().await.unwrap() {
            Verdict::Broken(Flaw { row: found, what: said }) => {
                assert_eq!(found, *row, "{sql}: {said}");
                assert!(said.contains(what), "{sql}: {said}");
            }
            Verdict::Sound { .. } => panic!("not found: {sql}"),
        }
        restore(&database, &node).await;
        assert_eq!(sound(&node.audit).await, (9, 2), "restored after {sql}");
    }
    a_row_changed_with_its_hash_is_named_beside_the_next(&database, &node).await;
    restore(&database, &node).await;
    a_chain_made_anew_is_found(&database, &node).await;
    drop(node.kept);
}

async fn restore(database: &FreshDatabase, node: &Node) {
    let sql = "DELETE FROM audit_log; INSERT INTO audit_log SELECT * FROM kept_rows; \
        DELETE FROM audit_checkpoints; INSERT INTO audit_checkpoints SELECT * FROM kept_checkpoints";
    database.execute_each(&node.stores, sql).await;
}

async fn a_row_changed_with_its_hash_is_named_beside_the_next(database: &FreshDatabase, node: &Node) {
    database.execute(&node.stores, "DELETE FROM audit_log WHERE number > 4").await;
    record(&node.audit, "alice", 100).await;
    let fifth = ids(&node.audit, None, 1).await.0[0];
    database.execute(&node.stores, "INSERT INTO audit_log SELECT * FROM kept_rows WHERE number > 5").await;
    match node.audit.verify().await.unwrap() {
        Verdict::Broken(Flaw { row: Some(6), what }) => {
            assert!(what.ends_with(&format!(" does not follow row {fifth}: one of the two was changed")), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

async fn what_cannot_be_read_is_left_out_and_the_rest_shown(database: FreshDatabase) {
    let node = node(&database).await;
    for number in 1..=4 {
        record(&node.audit, "alice", number).await;
    }
    assert!(node.audit.sign_checkpoint().await.unwrap());
    database.execute(&node.stores, "UPDATE audit_log SET \"time\" = 'infinity' WHERE id IN (2, 4)").await;
    for (before, first, shown) in [
        (None, 1, (vec![3], true)),
        (None, 2, (vec![3, 1], false)),
        (None, 3, (vec![3, 1], false)),
        (Some(3), 1, (vec![1], false)),
        (Some(1), 1, (vec![], false)),
    ] {
        assert_eq!(ids(&node.audit, before, first).await, shown, "{first} before {before:?}");
    }
    for sql in ["SELECT 1", "UPDATE audit_checkpoints SET \"time\" = 'infinity'"] {
        database.execute(&node.stores, sql).await;
        record(&node.audit, "alice", 5).await;
        assert!(!node.audit.sign_checkpoint().await.unwrap(), "what is not as it was is not vouched for: {sql}");
    }
}

async fn a_row_with_the_largest_id_or_number_is_shown_and_stops_nobody(database: FreshDatabase) {
    let node = node(&database).await;
    for number in 1..=3 {
        record(&node.audit, "alice", number).await;
    }
    database.execute(&node.stores, "UPDATE audit_log SET id = 9223372036854775807 WHERE id = 2").await;
    assert_eq!(ids(&node.audit, None, 1).await, (vec![i64::MAX], true));
    record(&node.audit, "alice", 4).await;
    database.execute(&node.stores, "UPDATE audit_log SET id = 9223372036854775806 WHERE id = 1").await;
    record(&node.audit, "alice", 5).await;
    assert_eq!(ids(&node.audit, None, 9).await, (vec![i64::MAX, i64::MAX - 1, 5, 4, 3], false));
    assert_eq!(ids(&node.audit, Some(i64::MAX), 2).await, (vec![i64::MAX - 1, 5], true));
    database.execute(&node.stores, "UPDATE audit_log SET number = 9223372036854775807 WHERE id = 5").await;
    record(&node.audit, "alice", 6).await;
}

async fn one_node_signs_in_an_interval(database: FreshDatabase) {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    // Each another node, by its own clock.
    for (seconds, signs) in [(0, true), (30, false), (90, true), (120, false), (180, true), (60, true)] {
        let clock = Clock::stepped_from(start + TimeDelta::seconds(seconds));
        let node = node_at(&database, clock, 60).await;
        record(&node.audit, "alice", 1).await;
        assert_eq!(node.audit.sign_checkpoint().await.unwrap(), signs, "after {seconds} seconds");
    }
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
