//! What is shown once, or proves who one is, stands in no log line, however much is logged.

use std::fs;

use serde_json::{Value, json};
use tidegate::model::Role;

use crate::harness::{FreshDatabase, Program, Stranger, TotpApp, scratch, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_logged() {
    const WORDS: &str = "zither-in-the-cellar";
    let (database, folder) = (FreshDatabase::sqlite(), scratch());
    let log = folder.path().join("log");
    let server = Program::start_logging(&database.config, &log).await;
    let admin = Stranger::new("admin", Role::Admin);
    let done = async |document: &str, extensions: Value| {
        let reply = admin.post(server.base(), &json!({"query": document, "extensions": extensions})).await;
        let reply = reply.expect("an answer");
        assert!(reply["errors"].is_null(), "{document}: {reply}");
        reply["data"].clone()
    };
    let remembered = format!("mutation {{ addMemory(content: {WORDS:?}) {{ id }} }}");
    done(&remembered, json!({})).await;
    done("{ memories(query: \"zither\") { nodes { content } } }", json!({})).await;
    let robot = "mutation { apiKeyCreate(input: {name: \"a\", subject: \"robot\", role: ADMIN}) { key } }";
    let key = text(&done(robot, json!({})).await["apiKeyCreate"]["key"]);
    let enrolment = done("mutation { secondFactorEnroll(input: {}) { enrolment { secret uri } } }", json!({})).await;
    let secret = text(&enrolment["secondFactorEnroll"]["enrolment"]["secret"]);
    let code = TotpApp(secret.clone()).code();
    let confirm = format!("mutation {{ secondFactorConfirm(input: {{code: {code:?}}}) {{ recoveryCodes }} }}");
    let recovery = text(&done(&confirm, json!({})).await["secondFactorConfirm"]["recoveryCodes"][0]);
    let step_up = format!("mutation {{ stepUp(input: {{code: {recovery:?}}}) {{ stepUp {{ token }} }} }}");
    let token = text(&done(&step_up, json!({})).await["stepUp"]["stepUp"]["token"]);
    let reset = "mutation { upstreamReset(input: {name: \"coingecko\"}) { upstream { name } } }";
    done(reset, json!({"stepUpToken": token})).await;
    let own = Stranger::bearing(&key).post(server.base(), &json!({"query": "{ me { subject } }"})).await;
    assert_eq!(own.expect("an answer")["data"]["me"]["subject"], "robot");
    // What is wrong is not repeated either.
    let wrong = format!("{key}x");
    let refused = Stranger::bearing(&wrong).post(server.base(), &json!({"query": "{ me { subject } }"})).await;
    assert!(!refused.expect("an answer")["errors"].is_null());

    let logged = || fs::read_to_string(&log).expect("there is a log");
    until("all of it was logged", async || logged().matches("route=\"/graphql\"").count() == 9).await;
    assert!(logged().contains("INSERT INTO api_keys"), "statements are logged, and not what they carry");
    server.kill().await;
    let signature = |token: &str| token.rsplit_once('.').expect("a JWT").1.to_owned();
    let secrets = [
        ("the words of a memory", WORDS.to_owned()),
        ("an API key", key[21..].to_owned()),
        ("the secret of an app", secret),
        ("a recovery code", recovery),
        ("a step-up token", signature(&token)),
        ("an access token", signature(admin.token())),
        ("the master key", fs::read_to_string(database.config.folder.join("tidegate.key")).unwrap().trim().to_owned()),
    ];
    let logged = logged();
    for (name, secret) in secrets {
        let line = logged.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{name}: {}", line.unwrap_or_default());
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
