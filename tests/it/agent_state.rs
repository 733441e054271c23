//! Feelings and memories by the front door, each body on both databases.

use std::{fs, path::Path, time::Duration};

use futures_util::future::join_all;
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tidegate::model::Role;
use tokio::time::timeout;

use crate::harness::{Actor, FreshDatabase, Reply, Socket, TestApp, on_both, send, until};

on_both! {
    feedback_moves_the_points_and_the_emotion
    feedback_at_the_same_time_is_taken_in_one_after_the_other
    the_same_key_is_done_once
    everything_wrong_is_said_with_its_field
    nobody_sees_what_is_anothers
    memories_are_listed_and_searched
    what_was_forgotten_cannot_be_read
    who_repeats_forgetting_finishes_it
    changes_are_followed_and_resumed
    state_survives_a_restart
}

async fn app(database: &FreshDatabase) -> TestApp {
    TestApp::builder().database(database).start().await
}

/// `data` of a document that must not fail.
async fn data(actor: &Actor<'_>, document: &str) -> Value {
    let reply = actor.query(document).await.json();
    assert!(reply["errors"].is_null(), "{document}: {reply}");
    reply["data"].clone()
}

async fn feel(actor: &Actor<'_>, feedback: i32) -> Value {
    let document = format!("mutation {{ updateEmotion(feedback: {feedback}) {{ emotion points version }} }}");
    data(actor, &document).await["updateEmotion"].clone()
}

async fn remember(actor: &Actor<'_>, content: &str) -> Value {
    let query = "mutation ($content: String!) { addMemory(content: $content) { id content createdAt } }";
    let reply = actor.post(&json!({"query": query, "variables": {"content": content}})).await.json();
    assert!(reply["errors"].is_null(), "{reply}");
    reply["data"]["addMemory"].clone()
}

fn someone<'a>(app: &'a TestApp, subject: &str) -> Actor<'a> {
    app.bearing(Some(app.token(subject, Role::User, Duration::from_hours(1))))
}

async fn feedback_moves_the_points_and_the_emotion(database: FreshDatabase) {
    let app = app(&database).await;
    let alice = app.alice();
    let asked = "{ emotion { emotion points version updatedAt } me { subject role emotion { points } } }";
    let before = data(&alice, asked).await;
    assert_eq!(before["emotion"], json!({"emotion": "CALM", "points": 0, "version": 0, "updatedAt": null}));
    for (feedback, emotion, points, version) in [
        (30, "CONTENT", 15, 1),
        (100, "HAPPY", 65, 2),
        (100, "ELATED", 100, 3),
        (-1, "ELATED", 99, 4),
        (0, "ELATED", 99, 5),
    ] {
        let felt = feel(&alice, feedback).await;
        assert_eq!(felt, json!({"emotion": emotion, "points": points, "version": version}), "{}", database.name);
    }
    let after = data(&alice, asked).await;
    assert_eq!((&after["emotion"]["points"], &after["me"]["emotion"]["points"]), (&json!(99), &json!(99)));
    assert_eq!((&after["me"]["subject"], &after["me"]["role"]), (&json!("alice"), &json!("USER")));
    assert!(after["emotion"]["updatedAt"].is_string());
    // What is one's own is never kept for others.
    let reply = alice.query(asked).await;
    assert_eq!(reply.header("cache-control"), "no-store");
}

async fn feedback_at_the_same_time_is_taken_in_one_after_the_other(database: FreshDatabase) {
    let (one, other) = (app(&database).await, app(&database).await);
    let tries = (0..20).map(|number| {
        let alice = if number % 2 == 0 { one.alice() } else { other.alice() };
        async move { feel(&alice, 4).await }
    });
    let mut versions: Vec<i64> = join_all(tries).await.iter().map(|felt| felt["version"].as_i64().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<i64>>());
    assert_eq!(data(&one.alice(), "{ emotion { points } }").await["emotion"]["points"], 40);
}

async fn with_key(actor: &Actor<'_>, key: &str, document: &str) -> Reply {
    actor.post(&json!({"query": document, "extensions": {"idempotencyKey": key}})).await
}

async fn the_same_key_is_done_once(database: FreshDatabase) {
    let (app, other) = (app(&database).await, app(&database).await);
    let alice = app.alice();
    let feeling = "mutation { updateEmotion(feedback: 10) { points version } }";
    let first = with_key(&alice, "a", feeling).await.json();
    let tries = (0..8).map(|number| {
        let alice = if number % 2 == 0 { app.alice() } else { other.alice() };
        async move { with_key(&alice, "a", feeling).await.json() }
    });
    assert!(join_all(tries).await.iter().all(|reply| *reply == first), "{first}");
    let changed = with_key(&alice, "a", "mutation { updateEmotion(feedback: 11) { points } }").await;
    assert_eq!(changed.code(), "CONFLICT");

    // The same key for somebody else, and a second field of the same request, are other commands.
    let both = "mutation { one: updateEmotion(feedback: 10) { version } two: updateEmotion(feedback: 10) { version } }";
    let twice = [with_key(&alice, "b", both).await.json(), with_key(&alice, "b", both).await.json()];
    assert_eq!(twice[0]["data"], json!({"one": {"version": 2}, "two": {"version": 3}}));
    assert_eq!(twice[0], twice[1]);
    assert_eq!(with_key(&someone(&app, "bob"), "a", feeling).await.json()["data"]["updateEmotion"]["version"], 1);

    // As a header, and for memories.
    let body = json!({"query": "mutation { addMemory(content: \"once\") { id content } }"}).to_string();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = alice.request(Method::POST, "/graphql").header(CONTENT_TYPE, "application/json");
        let reply = send(request.header("Idempotency-Key", "memory").body(body.clone())).await.json();
        ids.push(reply["data"]["addMemory"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0]["content"], "once");
    let kept = data(&alice, "{ memories { nodes { content } } }").await;
    assert_eq!(kept["memories"]["nodes"], json!([{"content": "once"}]));
    for bad in ["", "two words", &"x".repeat(256)] {
        with_key(&alice, bad, feeling).await.refused(400, "BAD_USER_INPUT");
    }
}

async fn everything_wrong_is_said_with_its_field(database: FreshDatabase) {
    let app = app(&database).await;
    let alice = app.alice();
    let long = format!("mutation {{ addMemory(content: {:?}) {{ id }} }}", "x".repeat(8_001));
    for (document, fields) in [
        ("mutation { updateEmotion(feedback: 101) { points } }", json!([["feedback"]])),
        ("mutation { updateEmotion(feedback: -101) { points } }", json!([["feedback"]])),
        ("mutation { addMemory(content: \"\") { id } }", json!([["content"]])),
        ("mutation { addMemory(content: \" \\n \") { id } }", json!([["content"]])),
        ("mutation { addMemory(content: \"a\\u0000b\") { id } }", json!([["content"]])),
        (long.as_str(), json!([["content"]])),
        ("{ memories(first: 0, after: \"x\") { nodes { id } } }", json!([["first"], ["after"]])),
        ("{ memories(first: 101) { nodes { id } } }", json!([["first"]])),
        ("{ memories(query: \"!?\") { nodes { id } } }", json!([["query"]])),
    ] {
        let reply = alice.query(document).await;
        assert_eq!(reply.code(), "BAD_USER_INPUT", "{document}: {}", reply.text);
        let error = &reply.json()["errors"][0];
        let named: Vec<Value> = error["extensions"]["fields"]
            .as_array()
            .unwrap_or_else(|| panic!("{document}: {error}"))
            .iter()
            .map(|problem| problem["field"].clone())
            .collect();
        assert_eq!(json!(named), fields, "{document}");
        assert!(!error["path"].is_null(), "{error}");
    }
    for id in ["", "mem_", "nonsense", "mem_00000000000000000000000000000000"] {
        let query = "mutation ($id: ID!) { memoryForget(input: {id: $id}) { forgottenId userErrors { code field } } }";
        let reply = alice.post(&json!({"query": query, "variables": {"id": id}})).await.json();
        let expected = json!({"forgottenId": null, "userErrors": [{"code": "NOT_FOUND", "field": ["input", "id"]}]});
        assert_eq!(reply["data"]["memoryForget"], expected, "{reply}");
    }
    for document in
        ["{ me { role } }", "{ memories { nodes { id } } }", "mutation { updateEmotion(feedback: 1) { points } }"]
    {
        app.anon().query(document).await.refused(401, "UNAUTHENTICATED");
    }
}

async fn nobody_sees_what_is_anothers(database: FreshDatabase) {
    let app = app(&database).await;
    let (alice, bob) = (app.alice(), someone(&app, "bob"));
    let id = remember(&alice, "the blue door").await["id"].as_str().unwrap().to_owned();
    feel(&alice, 50).await;
    let asked = format!(
        "{{ memory(id: {id:?}) {{ content }} memories {{ nodes {{ id }} }} emotion {{ points }} \
        found: memories(query: \"door\") {{ nodes {{ id }} }} }}"
    );
    let seen = data(&bob, &asked).await;
    assert_eq!(
        seen,
        json!({"memory": null, "memories": {"nodes": []}, "emotion": {"points": 0}, "found": {"nodes": []}})
    );
    let forgetting = format!("mutation {{ memoryForget(input: {{id: {id:?}}}) {{ userErrors {{ code }} }} }}");
    assert_eq!(data(&bob, &forgetting).await["memoryForget"]["userErrors"], json!([{"code": "NOT_FOUND"}]));
    assert_eq!(data(&alice, &asked).await["memory"], json!({"content": "the blue door"}));
    alice
        .connect()
        .await
        .send(json!({"id": "1", "type": "subscribe", "payload":
        {"query": "subscription { emotionChanges(userId: \"bob\") { points } }"}}))
        .await;
    let stream = "subscription { emotionChanges(userId: \"alice\") { points } }";
    let mut socket = bob.connect().await;
    socket.send(json!({"id": "1", "type": "subscribe", "payload": {"query": stream}})).await;
    let message = socket.message().await;
    assert_eq!(
        (&message["type"], &message["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("FORBIDDEN"))
    );
}

async fn memories_are_listed_and_searched(database: FreshDatabase) {
    let app = app(&database).await;
    let alice = app.alice();
    for content in ["The cat sleeps on the red sofa", "Cats were running home", "Der Zug fährt um acht", "🌊 the tide"]
    {
        remember(&alice, content).await;
    }
    let mut cursor = Value::Null;
    let mut seen = Vec::new();
    loop {
        let query = "query ($after: String) { memories(first: 3, after: $after) {
            edges { cursor node { content } } nodes { content } pageInfo { hasNextPage endCursor } } }";
        let page = alice.post(&json!({"query": query, "variables": {"after": cursor}})).await.json();
        let page = &page["data"]["memories"];
        for (edge, node) in page["edges"].as_array().unwrap().iter().zip(page["nodes"].as_array().unwrap()) {
            assert_eq!(edge["node"], *node);
            seen.push(node["content"].as_str().unwrap().to_owned());
        }
        cursor = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    let newest_first =
        ["🌊 the tide", "Der Zug fährt um acht", "Cats were running home", "The cat sleeps on the red sofa"];
    assert_eq!(seen, newest_first);
    for (words, expected) in [
        ("cat", vec!["Cats were running home", "The cat sleeps on the red sofa"]),
        ("run", vec!["Cats were running home"]),
        ("SOFA red", vec!["The cat sleeps on the red sofa"]),
        ("zug", vec!["Der Zug fährt um acht"]),
        ("cat tide", vec![]),
        ("\"cat\" AND NOT content:home OR NEAR(*", vec![]),
        ("tide' OR 1=1 --", vec![]),
    ] {
        let query = "query ($words: String) { memories(query: $words) { nodes { content } } }";
        let found = alice.post(&json!({"query": query, "variables": {"words": words}})).await.json();
        let nodes = found["data"]["memories"]["nodes"].as_array().unwrap_or_else(|| panic!("{words}: {found}"));
        let contents: Vec<_> = nodes.iter().map(|node| node["content"].as_str().unwrap()).collect();
        assert_eq!(contents, expected, "{words} on {}", database.name);
    }
}

/// All bytes under a folder.
fn bytes_of(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { bytes_of(&path) } else { fs::read(&path).unwrap_or_default() }).collect()
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

async fn what_was_forgotten_cannot_be_read(database: FreshDatabase) {
    const SECRET: &str = "xylophone-of-the-forgotten";
    let app = app(&database).await;
    let alice = app.alice();
    let id = remember(&alice, &format!("never tell: {SECRET}")).await["id"].as_str().unwrap().to_owned();
    remember(&alice, "something that stays").await;
    let backup = database.dump().await;
    assert!(!holds(&backup, SECRET), "a backup of the log never holds the words");
    let forgetting =
        format!("mutation {{ memoryForget(input: {{id: {id:?}}}) {{ forgottenId userErrors {{ code }} }} }}");
    for _ in 0..2 {
        assert_eq!(data(&alice, &forgetting).await["memoryForget"], json!({"forgottenId": id, "userErrors": []}));
    }
    let asked = format!(
        "{{ memory(id: {id:?}) {{ content }} memories {{ nodes {{ content }} }} \
        found: memories(query: \"xylophone\") {{ nodes {{ id }} }} }}"
    );
    let expected =
        json!({"memory": null, "memories": {"nodes": [{"content": "something that stays"}]}, "found": {"nodes": []}});
    until("the index has forgotten it", async || data(&alice, &asked).await == expected).await;
    assert_eq!(data(&alice, &asked).await, expected);
    if database.is_sqlite() {
        let bytes = bytes_of(&database.config.folder);
        assert!(!holds(&bytes, SECRET) && !holds(&bytes, "xylophon"), "no file holds the words, or their roots");
    }
    app.stop().await;

    // The log as it was before, with the vault as it is now: what somebody has who restores a backup.
    database.restore(&backup);
    let app = self::app(&database).await;
    let asked = format!("{{ memory(id: {id:?}) {{ content }} memories {{ nodes {{ content }} }} }}");
    let expected = json!({"memory": null, "memories": {"nodes": [{"content": "something that stays"}]}});
    until("the restored state is shown", async || data(&app.alice(), &asked).await == expected).await;
}

const FORGET: &str = "mutation ($id: ID!) { memoryForget(input: {id: $id}) { forgottenId userErrors { code } } }";

async fn forget(alice: &Actor<'_>, id: &Value) -> Reply {
    alice.post(&json!({"query": FORGET, "variables": {"id": id}})).await
}

async fn who_repeats_forgetting_finishes_it(database: FreshDatabase) {
    let (app, stores) = (app(&database).await, database.stores().await);
    let id = remember(&app.alice(), "the key of this comes back").await["id"].clone();
    database.execute_vault(&stores, "CREATE TABLE found AS SELECT * FROM data_keys").await;
    let done = json!({"forgottenId": id, "userErrors": []});
    assert_eq!(forget(&app.alice(), &id).await.json()["data"]["memoryForget"], done);
    // As if the first try had ended between the log and the vault.
    database.execute_vault(&stores, "INSERT INTO data_keys SELECT * FROM found").await;
    assert_eq!(forget(&app.alice(), &id).await.json()["data"]["memoryForget"], done);
    assert_eq!(database.rows_of_vault(&stores, "SELECT count(*) FROM data_keys").await, [0]);
}

#[tokio::test]
async fn forgetting_is_done_when_no_file_of_sqlite_holds_the_words() {
    const SECRET: &str = "glockenspiel-of-the-forgotten";
    let database = FreshDatabase::sqlite();
    let app = app(&database).await;
    let id = remember(&app.alice(), SECRET).await["id"].clone();
    // Somebody who reads the index as it was keeps the old pages in SQLite's journal.
    let reader = database.read_index().await;
    let reply = forget(&app.alice(), &id).await;
    assert_eq!(reply.code(), "TIMEOUT", "{}", reply.text);
    assert!(holds(&bytes_of(&database.config.folder), SECRET), "that is why");
    drop(reader);
    let forgotten = async || forget(&app.alice(), &id).await.json()["data"]["memoryForget"]["forgottenId"] == id;
    until("it is forgotten", forgotten).await;
    assert!(!holds(&bytes_of(&database.config.folder), SECRET));
}

/// Another file takes the place of the log while the server runs. Whatever its index knows of the old one is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_in_a_log_that_was_put_back_is_forgotten() {
    const SECRET: &str = "hurdy-gurdy-of-the-forgotten";
    let database = FreshDatabase::sqlite();
    let app = app(&database).await;
    let id = remember(&app.alice(), SECRET).await["id"].clone();
    let backup = database.dump().await;
    for number in 0..5 {
        remember(&app.alice(), &format!("lost {number}")).await;
    }
    let (path, restored) = (database.config.folder.join("tidegate.db"), database.config.folder.join("restored"));
    fs::write(&restored, backup).unwrap();
    for rest in ["tidegate.db-wal", "tidegate.db-shm"] {
        let _ = fs::remove_file(database.config.folder.join(rest));
    }
    fs::rename(restored, path).unwrap();
    let forgotten = async || forget(&app.alice(), &id).await.json()["data"]["memoryForget"]["forgottenId"] == id;
    until("it is forgotten", forgotten).await;
    assert!(!holds(&bytes_of(&database.config.folder), SECRET));
    let listed = data(&app.alice(), "{ memories { nodes { content } } }").await;
    assert_eq!(listed["memories"]["nodes"], json!([]), "what the log does not have is not listed");
}

const CHANGES: &str = "subscription ($user: ID!, $after: String) { emotionChanges(userId: $user, after: $after) {
    userId oldEmotion newEmotion points feedback version cursor } }";

async fn follow(app: &TestApp, user: &str, after: Option<&str>) -> Socket {
    let mut socket = app.admin().connect().await;
    let variables = json!({"user": user, "after": after});
    socket.send(json!({"id": "1", "type": "subscribe", "payload": {"query": CHANGES, "variables": variables}})).await;
    socket
}

async fn change(socket: &mut Socket) -> Value {
    let message = socket.message().await;
    assert_eq!(message["type"], "next", "{message}");
    message["payload"]["data"]["emotionChanges"].clone()
}

async fn changes_are_followed_and_resumed(database: FreshDatabase) {
    let (app, other) = (app(&database).await, app(&database).await);
    feel(&app.alice(), 10).await;
    let mut socket = follow(&app, "alice", None).await;
    // Only what comes after the subscription has begun: what moves nothing is told until it is heard.
    let heard = async || {
        feel(&other.alice(), 0).await;
        timeout(Duration::from_millis(100), change(&mut socket)).await.is_ok()
    };
    until("the subscription runs", heard).await;
    feel(&other.alice(), 20).await;
    feel(&someone(&other, "bob"), 20).await;
    let mut last = change(&mut socket).await;
    while last["feedback"] == 0 {
        last = change(&mut socket).await;
    }
    let version = last["version"].as_u64().unwrap();
    let expected = json!({"userId": "alice", "oldEmotion": "CALM", "newEmotion": "CONTENT", "points": 15, "feedback": 20,
        "version": version, "cursor": last["cursor"]});
    assert_eq!(last, expected);
    drop(socket);
    for feedback in 1..=30 {
        feel(&app.alice(), feedback % 3).await;
    }
    let mut back = follow(&other, "alice", last["cursor"].as_str()).await;
    for version in version + 1..=version + 30 {
        assert_eq!(change(&mut back).await["version"], version);
    }
    feel(&app.alice(), 1).await;
    assert_eq!(change(&mut back).await["version"], version + 31);
    for (user, after, field) in [("alice", Some("nonsense"), "after"), ("", None, "userId"), ("a\0b", None, "userId")] {
        let message = follow(&app, user, after).await.message().await;
        let said = &message["payload"][0]["extensions"];
        assert_eq!(said["code"], "BAD_USER_INPUT", "{message}");
        assert_eq!(said["fields"][0]["field"], json!([field]), "{message}");
    }
}

async fn state_survives_a_restart(database: FreshDatabase) {
    let first = app(&database).await;
    feel(&first.alice(), 50).await;
    let memory = remember(&first.alice(), "kept over the restart").await;
    first.stop().await;
    let second = app(&database).await;
    let kept = data(&second.alice(), "{ emotion { points } memories { nodes { id content createdAt } } }").await;
    assert_eq!(kept, json!({"emotion": {"points": 25}, "memories": {"nodes": [memory]}}));
}
