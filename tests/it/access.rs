//! Keys, revocations and the second factor by the front door, each body on both databases.

use std::{fs, time::Duration};

use chrono::TimeDelta;
use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Value, json};
use tidegate::{
    auth::dev,
    config::SecondFactor,
    model::{Clock, Role},
};

use crate::harness::{Actor, FreshDatabase, Reply, Socket, TestApp, TotpApp, on_both, send, subscribe};

on_both! {
    a_key_is_made_used_listed_and_revoked
    a_key_made_twice_under_one_idempotency_key_is_shown_once
    keys_are_listed_in_pages
    everything_wrong_is_said_with_its_field
    what_is_of_another_type_is_bad_input
    a_revoked_token_is_refused_at_once
    tokens_of_a_subject_are_revoked
    who_has_enrolled_must_step_up
    a_recovery_code_steps_up_and_counts_once
    wrong_codes_come_to_an_end
    who_must_enrol_is_told_so
    only_those_who_may_do_it
    bad_keys_of_one_address_are_told_to_wait
}

const UPSTREAM: &str = "mutation { upstreamReset(input: {name: \"coingecko\"}) { upstream { name } } }";
const CREATE: &str = "mutation ($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) {
    apiKey { id name subject role createdBy createdAt expiresAt revokedAt revokedBy } key
    userErrors { code field message } } }";
const REVOKE: &str = "mutation ($input: ApiKeyRevokeInput!) { apiKeyRevoke(input: $input) {
    apiKey { id revokedAt revokedBy } userErrors { code field message } } }";
const REVOKE_TOKEN: &str = "mutation ($input: TokenRevokeInput!) { tokenRevoke(input: $input) {
    revocation { expiresAt } userErrors { code field message } } }";
const REVOKE_SUBJECT: &str = "mutation ($input: SubjectTokensRevokeInput!) { subjectTokensRevoke(input: $input) {
    revocation { subject issuedBefore } userErrors { code field message } } }";
const ENROL: &str = "mutation ($input: SecondFactorEnrollInput!) { secondFactorEnroll(input: $input) {
    enrolment { secret uri } userErrors { code field message } } }";
const CONFIRM: &str = "mutation ($input: SecondFactorConfirmInput!) { secondFactorConfirm(input: $input) {
    secondFactor { enrolled } recoveryCodes userErrors { code field message } } }";
const STEP_UP: &str = "mutation ($input: StepUpInput!) { stepUp(input: $input) {
    stepUp { token expiresAt recoveryCodesLeft } userErrors { code field message } } }";
const DISABLE: &str = "mutation ($input: SecondFactorDisableInput!) { secondFactorDisable(input: $input) {
    disabledSubject userErrors { code field message } } }";

async fn app(database: &FreshDatabase) -> TestApp {
    TestApp::builder().database(database).start().await
}

/// Posts a mutation, with a step-up token if there is one.
async fn post(actor: &Actor<'_>, document: &str, input: &Value, step_up: Option<&str>) -> Reply {
    let request = actor.request(Method::POST, "/graphql").header(CONTENT_TYPE, "application/json");
    let request = request.header(ACCEPT, "application/graphql-response+json");
    let request = match step_up {
        Some(token) => request.header("X-Step-Up-Token", token),
        None => request,
    };
    send(request.body(json!({"query": document, "variables": {"input": input}}).to_string())).await
}

/// The payload of a mutation without errors of its own.
async fn done(actor: &Actor<'_>, document: &str, input: &Value, step_up: Option<&str>) -> Value {
    let reply = post(actor, document, input, step_up).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let json = reply.json();
    assert!(json["errors"].is_null(), "{document}: {json}");
    json["data"].as_object().unwrap().values().next().unwrap().clone()
}

/// Codes and fields of `userErrors`.
fn told(payload: &Value) -> Vec<(String, String)> {
    let problems = payload["userErrors"].as_array().unwrap_or_else(|| panic!("{payload}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let path = |value: &Value| value.as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(".");
    problems.iter().map(|problem| (text(&problem["code"]), path(&problem["field"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn robot() -> Value {
    json!({"name": "backup", "subject": "robot", "role": "ADMIN"})
}

/// Enrols whoever asks; returns the app and the recovery codes.
async fn enrol(actor: &Actor<'_>) -> (TotpApp, Vec<String>) {
    let app = TotpApp(text(&done(actor, ENROL, &json!({}), None).await["enrolment"]["secret"]));
    let confirmed = done(actor, CONFIRM, &json!({"code": app.code()}), None).await;
    let codes: Vec<String> = confirmed["recoveryCodes"].as_array().unwrap().iter().map(text).collect();
    assert_eq!((codes.len(), &confirmed["secondFactor"]["enrolled"]), (10, &json!(true)), "{confirmed}");
    (app, codes)
}

/// The reason of a refusal, which names the field.
fn reason(reply: &Reply, field: &str) -> String {
    reply.refused(403, "FORBIDDEN");
    let error = &reply.json()["errors"][0];
    assert_eq!(error["path"], json!([field]), "{error}");
    text(&error["extensions"]["reason"])
}

async fn a_key_is_made_used_listed_and_revoked(database: FreshDatabase) {
    let app = app(&database).await;
    let admin = app.admin();
    let created = done(&admin, CREATE, &robot(), None).await;
    let (key, id) = (text(&created["key"]), text(&created["apiKey"]["id"]));
    assert_eq!(id, format!("key_{}", &key[4..20]));
    let known = &created["apiKey"];
    assert_eq!(
        (&known["name"], &known["subject"], &known["role"], &known["createdBy"], &known["revokedAt"]),
        (&json!("backup"), &json!("robot"), &json!("ADMIN"), &json!("admin"), &Value::Null)
    );

    let robot = app.bearing(Some(key.clone()));
    let me = robot.query("{ me { subject role expiresAt } }").await.json();
    assert_eq!(me["data"]["me"], json!({"subject": "robot", "role": "ADMIN", "expiresAt": null}), "{me}");
    let mut socket = robot.connect().await;
    socket.send(json!({"id": "1", "type": "subscribe", "payload": {"query": "{ me { subject } }"}})).await;
    assert_eq!(socket.message().await["payload"]["data"]["me"]["subject"], "robot");
    assert_eq!(socket.message().await["type"], "complete");

    let listed = admin.query("{ apiKeys { nodes { id name subject } } }").await;
    assert_eq!(listed.header("cache-control"), "no-store");
    assert!(!listed.text.contains(&key[21..]), "{}", listed.text);
    let expected = json!([{"id": id, "name": "backup", "subject": "robot"}]);
    assert_eq!(listed.json()["data"]["apiKeys"]["nodes"], expected);

    let revoked = done(&admin, REVOKE, &json!({"id": id}), None).await;
    assert_eq!(revoked["apiKey"]["revokedBy"], "admin", "{revoked}");
    robot.query("{ me { subject } }").await.refused(401, "UNAUTHENTICATED");
    refused_on(&mut socket).await;
    assert_eq!(done(&admin, REVOKE, &json!({"id": id}), None).await, revoked, "once is for good");

    let kept: Vec<u8> = if database.is_sqlite() {
        let names = ["tidegate.db", "tidegate.db-wal", "index.db", "index.db-wal"];
        names.iter().flat_map(|name| fs::read(database.config.folder.join(name)).unwrap_or_default()).collect()
    } else {
        database.dump().await
    };
    let holds = |needle: &str| kept.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(holds(&id[4..]), "the search finds what is there");
    assert!(!holds(&key[21..]), "no table holds a key");
}

async fn a_key_made_twice_under_one_idempotency_key_is_shown_once(database: FreshDatabase) {
    let app = app(&database).await;
    let body = json!({"query": CREATE, "variables": {"input": robot()}, "extensions": {"idempotencyKey": "one"}});
    let [first, again] = [app.admin().post(&body).await.json(), app.admin().post(&body).await.json()];
    let (first, again) = (&first["data"]["apiKeyCreate"], &again["data"]["apiKeyCreate"]);
    assert_eq!(first["apiKey"], again["apiKey"], "{first} {again}");
    assert!(first["key"].is_string() && again["key"].is_null());
}

async fn keys_are_listed_in_pages(database: FreshDatabase) {
    let app = app(&database).await;
    let admin = app.admin();
    for name in ["a", "b", "c"] {
        done(&admin, CREATE, &json!({"name": name, "subject": "robot", "role": "USER"}), None).await;
    }
    let query = "query ($after: String) { apiKeys(first: 2, after: $after) {
        edges { cursor node { name } } nodes { name } pageInfo { hasNextPage endCursor } } }";
    let (mut after, mut names) = (Value::Null, Vec::new());
    loop {
        let page = admin.post(&json!({"query": query, "variables": {"after": after}})).await.json();
        let page = &page["data"]["apiKeys"];
        names.extend(page["nodes"].as_array().unwrap().iter().map(|node| text(&node["name"])));
        after = page["pageInfo"]["endCursor"].clone();
        assert_eq!(page["edges"].as_array().unwrap().last().unwrap()["cursor"], after);
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(names, ["c", "b", "a"]);
    let refused = admin.query("{ apiKeys(first: 0, after: \"x\") { nodes { id } } }").await;
    assert_eq!(refused.code(), "BAD_USER_INPUT");
    assert_eq!(refused.json()["errors"][0]["extensions"]["fields"].as_array().unwrap().len(), 2);
}

/// A mutation, what is put in, and the codes and fields of what `userErrors` say of it.
type Malformed<'a> = (&'static str, Value, Vec<(&'a str, &'a str)>);

fn malformed(long: &str) -> Vec<Malformed<'static>> {
    const BAD: &str = "BAD_USER_INPUT";
    const PAST: &str = "2020-01-01T00:00:00Z";
    vec![
        (
            CREATE,
            json!({"name": "\0", "subject": "\0", "role": "USER", "expiresAt": PAST}),
            vec![(BAD, "input.name"), (BAD, "input.subject"), (BAD, "input.expiresAt")],
        ),
        (
            CREATE,
            json!({"name": long, "subject": "", "role": "USER", "expiresAt": "9999-12-31T23:59:59Z"}),
            vec![(BAD, "input.name"), (BAD, "input.subject"), (BAD, "input.expiresAt")],
        ),
        (REVOKE, json!({"id": ""}), vec![("NOT_FOUND", "input.id")]),
        (REVOKE, json!({"id": "key_"}), vec![("NOT_FOUND", "input.id")]),
        (REVOKE, json!({"id": "key_0123456789abcdef"}), vec![("NOT_FOUND", "input.id")]),
        (REVOKE, json!({"id": "key_0123456789abcde\0"}), vec![("NOT_FOUND", "input.id")]),
        (REVOKE, json!({"id": 7}), vec![("NOT_FOUND", "input.id")]),
        (REVOKE_TOKEN, json!({}), vec![(BAD, "input")]),
        (REVOKE_TOKEN, json!({"jti": "a", "token": "b"}), vec![(BAD, "input")]),
        (REVOKE_TOKEN, json!({"jti": "a"}), vec![(BAD, "input.expiresAt")]),
        (REVOKE_TOKEN, json!({"jti": "", "expiresAt": PAST}), vec![(BAD, "input.jti"), (BAD, "input.expiresAt")]),
        (REVOKE_TOKEN, json!({"jti": "a\0", "expiresAt": "9999-12-31T23:59:59Z"}), vec![(BAD, "input.jti")]),
        (
            REVOKE_TOKEN,
            json!({"token": "a.b.c", "expiresAt": PAST}),
            vec![(BAD, "input.token"), (BAD, "input.expiresAt")],
        ),
        (REVOKE_TOKEN, json!({"token": long}), vec![(BAD, "input.token")]),
        (
            REVOKE_SUBJECT,
            json!({"subject": "\0", "issuedBefore": "9999-12-31T23:59:59Z"}),
            vec![(BAD, "input.subject"), (BAD, "input.issuedBefore")],
        ),
        (REVOKE_SUBJECT, json!({"subject": "", "issuedBefore": "0000-01-01T00:00:00Z"}), vec![(BAD, "input.subject")]),
        (CONFIRM, json!({"code": "\0"}), vec![("NOT_ENROLLED", "input.code")]),
        (STEP_UP, json!({"code": long}), vec![("NOT_ENROLLED", "input.code")]),
    ]
}

async fn everything_wrong_is_said_with_its_field(database: FreshDatabase) {
    let app = app(&database).await;
    let (admin, long) = (app.admin(), "x".repeat(10_000));
    for (document, input, expected) in malformed(&long) {
        let payload = done(&admin, document, &input, None).await;
        let expected: Vec<_> = expected.into_iter().map(|(code, field)| (code.to_owned(), field.to_owned())).collect();
        assert_eq!(told(&payload), expected, "{document} {input:.300}");
    }

    let (_, codes) = enrol(&admin).await;
    let token = text(&done(&admin, STEP_UP, &json!({"code": codes[0]}), None).await["stepUp"]["token"]);
    for subject in ["", "\0", "nobody", &long] {
        let payload = done(&admin, DISABLE, &json!({"subject": subject}), Some(&token)).await;
        assert_eq!(told(&payload), [("NOT_ENROLLED".to_owned(), "input.subject".to_owned())], "{subject:.20?}");
    }
}

async fn what_is_of_another_type_is_bad_input(database: FreshDatabase) {
    let app = app(&database).await;
    let admin = app.admin();
    for (document, input) in [
        (CREATE, json!({"name": 7, "subject": [], "role": "ROOT"})),
        (CREATE, json!({})),
        (CREATE, json!({"name": "a", "subject": "b", "role": "USER", "expiresAt": "tomorrow"})),
        (REVOKE, json!({})),
        (REVOKE_TOKEN, json!({"jti": "a", "expiresAt": 7})),
        (REVOKE_SUBJECT, json!({"subject": null})),
        (ENROL, json!({"kind": "SMS"})),
        (CONFIRM, json!({"code": 123_456})),
        (STEP_UP, json!({"code": null})),
        (DISABLE, json!({"subject": {}})),
        (DISABLE, Value::Null),
    ] {
        let reply = post(&admin, document, &input, None).await;
        assert_eq!(reply.code(), "BAD_USER_INPUT", "{document} {input}: {}", reply.text);
        assert!(reply.status.as_u16() < 500, "{}", reply.text);
    }
    let all = post(&admin, CREATE, &json!({"name": 7, "subject": [], "role": "ROOT"}), None).await.json();
    assert_eq!(all["errors"].as_array().unwrap().len(), 3, "{all}");
}

async fn a_revoked_token_is_refused_at_once(database: FreshDatabase) {
    let app = app(&database).await;
    let (admin, alice) = (app.admin(), app.alice());
    let kept = app.bearing(Some(app.token("alice", Role::User, Duration::from_mins(30))));
    assert!(alice.query("{ me { subject } }").await.status.is_success());
    let mut socket = alice.connect().await;
    let revoked = done(&admin, REVOKE_TOKEN, &json!({"token": alice.token()}), None).await;
    assert!(revoked["revocation"]["expiresAt"].is_string(), "{revoked}");
    alice.query("{ me { subject } }").await.refused(401, "UNAUTHENTICATED");
    assert!(kept.query("{ me { subject } }").await.status.is_success());
    refused_on(&mut socket).await;
}

/// What was revoked changes nothing, also on a socket that was opened with it before.
async fn refused_on(socket: &mut Socket) {
    socket.send(subscribe("9", "mutation { updateEmotion(feedback: 1) { points } }")).await;
    let message = socket.message().await;
    let code = &message["payload"][0]["extensions"]["code"];
    assert_eq!((&message["type"], code), (&json!("error"), &json!("UNAUTHENTICATED")), "{message}");
}

async fn tokens_of_a_subject_are_revoked(database: FreshDatabase) {
    let app = app(&database).await;
    let old = dev::mint(
        app.auth(),
        "alice",
        Role::User,
        Duration::from_hours(1),
        Clock::system().now() - TimeDelta::minutes(5),
    );
    let (old, admin) = (app.bearing(Some(old)), app.admin());
    assert!(old.query("{ me { subject } }").await.status.is_success());
    let before = Clock::system().now() - TimeDelta::minutes(1);
    let input = json!({"subject": "alice", "issuedBefore": before.to_rfc3339()});
    let revoked = done(&admin, REVOKE_SUBJECT, &input, None).await;
    assert_eq!(revoked["revocation"]["subject"], "alice", "{revoked}");
    old.query("{ me { subject } }").await.refused(401, "UNAUTHENTICATED");
    assert!(app.alice().query("{ me { subject } }").await.status.is_success());
    let moved = json!({"subject": "alice", "issuedBefore": "2020-01-01T00:00:00Z"});
    assert_eq!(done(&admin, REVOKE_SUBJECT, &moved, None).await, revoked, "a moment only ever moves on");
}

async fn who_has_enrolled_must_step_up(database: FreshDatabase) {
    let app = app(&database).await;
    let admin = app.admin();
    let asked = "{ secondFactor { enrolled } }";
    assert_eq!(admin.query(asked).await.json()["data"]["secondFactor"]["enrolled"], false);
    assert!(admin.query(UPSTREAM).await.json()["errors"].is_null(), "whoever has none needs none");
    let enrolment = done(&admin, ENROL, &json!({}), None).await["enrolment"].clone();
    let phone = TotpApp(text(&enrolment["secret"]));
    assert!(text(&enrolment["uri"]).starts_with("otpauth://totp/Tidegate:admin?secret="), "{enrolment}");
    let wrong = done(&admin, CONFIRM, &json!({"code": phone.wrong_code()}), None).await;
    assert_eq!(told(&wrong), [("WRONG_CODE".to_owned(), "input.code".to_owned())]);
    assert!(admin.query(UPSTREAM).await.json()["errors"].is_null(), "not before it is confirmed");
    done(&admin, CONFIRM, &json!({"code": phone.code()}), None).await;
    let reply = admin.query(asked).await;
    assert_eq!(
        (&reply.json()["data"]["secondFactor"]["enrolled"], reply.header("cache-control")),
        (&json!(true), "no-store")
    );

    without_proof(&admin).await;
    let used = done(&admin, STEP_UP, &json!({"code": phone.code()}), None).await;
    // At the turn of the half minute the same place has another code, which counts.
    let stepped_up = match told(&used).first() {
        Some((code_of, _)) => {
            assert_eq!(code_of, "USED_CODE");
            done(&admin, STEP_UP, &json!({"code": phone.code_in(1)}), None).await
        }
        None => used,
    };
    let token = text(&stepped_up["stepUp"]["token"]);
    assert_eq!(stepped_up["stepUp"]["recoveryCodesLeft"], 10);
    let passed = post(&admin, UPSTREAM, &Value::Null, Some(&token)).await.json();
    assert_eq!(passed["data"]["upstreamReset"]["upstream"]["name"], "coingecko", "{passed}");
    let passed = admin.post(&json!({"query": UPSTREAM, "extensions": {"stepUpToken": token}})).await.json();
    assert!(passed["errors"].is_null(), "{passed}");
    // It is its subject's, and no token.
    let posing = app.bearing(Some(token.clone())).query(asked).await;
    posing.refused(401, "UNAUTHENTICATED");

    over_a_socket(&admin, &token).await;
    let disabled = done(&admin, DISABLE, &json!({"subject": "admin"}), Some(&token)).await;
    assert_eq!(disabled["disabledSubject"], "admin", "{disabled}");
    assert!(admin.query(UPSTREAM).await.json()["errors"].is_null());
}

/// Queries go on; mutations want proof, which is looked at before anything is done.
async fn without_proof(admin: &Actor<'_>) {
    assert!(admin.query("{ upstreams { name } }").await.json()["errors"].is_null());
    assert_eq!(reason(&admin.query(UPSTREAM).await, "upstreamReset"), "STEP_UP_REQUIRED");
    let both = "mutation { updateEmotion(feedback: 1) { points }
        again: upstreamReset(input: {name: \"coingecko\"}) { upstream { name } }
        other: upstreamReset(input: {name: \"coinbase\"}) { upstream { name } } }";
    assert_eq!(reason(&admin.query(both).await, "again"), "STEP_UP_REQUIRED");
    assert_eq!(reason(&post(admin, UPSTREAM, &Value::Null, Some("guess")).await, "upstreamReset"), "BAD_STEP_UP_TOKEN");
    let skipped = "mutation ($is: Boolean!) { updateEmotion(feedback: 1) { points }
        upstreamReset(input: {name: \"coingecko\"}) @include(if: $is) { upstream { name } } }";
    let reply = admin.post(&json!({"query": skipped, "variables": {"is": false}})).await.json();
    assert!(reply["errors"].is_null(), "{reply}");
    let enrolling = post(admin, ENROL, &json!({}), None).await.json();
    assert_eq!(enrolling["errors"][0]["extensions"]["reason"], "STEP_UP_REQUIRED", "{enrolling}");
}

async fn over_a_socket(admin: &Actor<'_>, token: &str) {
    let mut socket = admin.connect().await;
    socket.send(json!({"id": "1", "type": "subscribe", "payload": {"query": UPSTREAM}})).await;
    let refused = socket.message().await;
    assert_eq!(
        (&refused["type"], &refused["payload"][0]["extensions"]["reason"]),
        (&json!("error"), &json!("STEP_UP_REQUIRED"))
    );
    let payload = json!({"query": UPSTREAM, "extensions": {"stepUpToken": token}});
    socket.send(json!({"id": "2", "type": "subscribe", "payload": payload})).await;
    let passed = socket.message().await;
    assert_eq!(passed["payload"]["data"]["upstreamReset"]["upstream"]["name"], "coingecko", "{passed}");
}

async fn a_recovery_code_steps_up_and_counts_once(database: FreshDatabase) {
    let app = app(&database).await;
    let admin = app.admin();
    let (_, codes) = enrol(&admin).await;
    let stepped_up = done(&admin, STEP_UP, &json!({"code": codes[4]}), None).await;
    assert_eq!(stepped_up["stepUp"]["recoveryCodesLeft"], 9);
    let token = text(&stepped_up["stepUp"]["token"]);
    assert!(post(&admin, UPSTREAM, &Value::Null, Some(&token)).await.json()["errors"].is_null());
    let again = done(&admin, STEP_UP, &json!({"code": codes[4]}), None).await;
    assert_eq!(
        (told(&again), &again["stepUp"]),
        (vec![("WRONG_CODE".to_owned(), "input.code".to_owned())], &Value::Null)
    );
}

async fn wrong_codes_come_to_an_end(database: FreshDatabase) {
    let app = app(&database).await;
    let admin = app.admin();
    let (phone, codes) = enrol(&admin).await;
    // Confirming has taken one of five.
    for _ in 0..4 {
        let wrong = done(&admin, STEP_UP, &json!({"code": phone.wrong_code()}), None).await;
        assert_eq!(told(&wrong), [("WRONG_CODE".to_owned(), "input.code".to_owned())]);
    }
    for code in [&codes[0], &phone.code_in(1)] {
        let refused = post(&admin, STEP_UP, &json!({"code": code}), None).await;
        assert_eq!(refused.code(), "RATE_LIMITED", "{}", refused.text);
        let error = &refused.json()["errors"][0];
        assert_eq!(error["path"], json!(["stepUp"]));
        let wait = error["extensions"]["retryAfterMs"].as_i64().unwrap();
        assert!((100_000..=180_000).contains(&wait), "{wait}");
    }
}

async fn who_must_enrol_is_told_so(database: FreshDatabase) {
    let required =
        TestApp::builder().database(&database).config(|config| config.auth.second_factor = SecondFactor::Required);
    let app = required.start().await;
    let admin = app.admin();
    assert_eq!(reason(&admin.query(UPSTREAM).await, "upstreamReset"), "ENROLMENT_REQUIRED");
    assert_eq!(reason(&post(&admin, CREATE, &robot(), None).await, "apiKeyCreate"), "ENROLMENT_REQUIRED");
    assert!(app.alice().query("mutation { updateEmotion(feedback: 1) { points } }").await.json()["errors"].is_null());
    let (_, codes) = enrol(&admin).await;
    assert_eq!(reason(&admin.query(UPSTREAM).await, "upstreamReset"), "STEP_UP_REQUIRED");
    let token = text(&done(&admin, STEP_UP, &json!({"code": codes[0]}), None).await["stepUp"]["token"]);
    let key = text(&done(&admin, CREATE, &robot(), Some(&token)).await["key"]);
    // A key is no way around it.
    let robot = app.bearing(Some(key));
    assert_eq!(reason(&robot.query(UPSTREAM).await, "upstreamReset"), "ENROLMENT_REQUIRED");
    let posing = post(&robot, UPSTREAM, &Value::Null, Some(&token)).await;
    assert_eq!(reason(&posing, "upstreamReset"), "ENROLMENT_REQUIRED");
}

async fn only_those_who_may_do_it(database: FreshDatabase) {
    let app = app(&database).await;
    let (anon, alice) = (app.anon(), app.alice());
    for (document, input) in [
        (CREATE, robot()),
        (REVOKE, json!({"id": "key_0123456789abcdef"})),
        (REVOKE_TOKEN, json!({"jti": "one"})),
        (REVOKE_SUBJECT, json!({"subject": "admin"})),
        (DISABLE, json!({"subject": "admin"})),
    ] {
        post(&anon, document, &input, None).await.refused(401, "UNAUTHENTICATED");
        post(&alice, document, &input, None).await.refused(403, "FORBIDDEN");
    }
    alice.query("{ apiKeys { nodes { id } } }").await.refused(403, "FORBIDDEN");
    for (document, input) in [(ENROL, json!({})), (CONFIRM, json!({"code": "1"})), (STEP_UP, json!({"code": "1"}))] {
        post(&anon, document, &input, None).await.refused(401, "UNAUTHENTICATED");
    }
    anon.query("{ secondFactor { enrolled } }").await.refused(401, "UNAUTHENTICATED");
    assert_eq!(alice.query("{ secondFactor { enrolled } }").await.json()["data"]["secondFactor"]["enrolled"], false);
    enrol(&alice).await;
    assert_eq!(alice.query("{ secondFactor { enrolled } }").await.json()["data"]["secondFactor"]["enrolled"], true);
}

async fn bad_keys_of_one_address_are_told_to_wait(database: FreshDatabase) {
    let app = app(&database).await;
    let stranger = app.bearing(Some(format!("tgk_0123456789abcdef_{}", "A".repeat(43))));
    for _ in 0..20 {
        stranger.query("{ __typename }").await.refused(401, "UNAUTHENTICATED");
    }
    let reply = stranger.query("{ __typename }").await;
    reply.refused(429, "RATE_LIMITED");
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((30..=45).contains(&wait), "{wait}");
    assert!(app.alice().query("{ me { subject } }").await.status.is_success(), "tokens are not keys");
}
