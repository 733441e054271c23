//! The database gone, full, read-only or silent, by the front door: a coded error, `/ready` says so, nothing that was
//! acknowledged is lost, and it heals without a restart.

use std::{fs, process::Command};

use serde_json::{Value, json};
use tidegate::{
    config::DatabaseConfig,
    store::{DatabaseError, Transaction},
};

use crate::harness::{FreshDatabase, PATIENCE, PostgresServer, SmallDisk, TestApp, until};

const FEEL: &str = "mutation { updateEmotion(feedback: 1) { version } }";

/// Over this database, with an eye on it ten times a second.
async fn app(config: &DatabaseConfig) -> TestApp {
    let builder = TestApp::builder().config(|all| {
        all.database = config.clone();
        all.database.heartbeat_ms = 100;
        all.database.deadline_ms = 1_000;
    });
    builder.start().await
}

/// What `/ready` says about the database, and with which status.
async fn readiness(app: &TestApp) -> (u16, Value) {
    let reply = app.anon().get("/ready").await;
    let parts = reply.json()["parts"].clone();
    let part = parts.as_array().unwrap().iter().find(|part| part["name"] == "database").cloned();
    (reply.status.as_u16(), part.expect("the database is a part"))
}

async fn is_ready(app: &TestApp) -> bool {
    readiness(app).await.0 == 200
}

/// The version after one more feedback, or the code with which it was refused.
async fn feel(app: &TestApp) -> Result<i64, String> {
    let reply = app.alice().query(FEEL).await;
    match reply.json()["data"]["updateEmotion"]["version"].as_i64() {
        Some(version) => Ok(version),
        None => Err(reply.code()),
    }
}

async fn version(app: &TestApp) -> Option<i64> {
    app.alice().query("{ emotion { version } }").await.json()["data"]["emotion"]["version"].as_i64()
}

/// Breaks the database and heals it, and looks at the server all the while.
async fn broken_and_healed(app: &TestApp, detail: &str, broken: impl AsyncFnOnce(), mend: impl AsyncFnOnce()) {
    let mut acknowledged = feel(app).await.expect("the database works at first");
    broken().await;
    let began = std::time::Instant::now();
    loop {
        match feel(app).await {
            // What fits into what was left, or into a file that nobody knows to be broken yet.
            Ok(version) => acknowledged = version,
            // It may have been done, and says nothing of what is wrong.
            Err(code) if code == "TIMEOUT" => {}
            Err(code) => {
                assert_eq!(code, "UPSTREAM_UNAVAILABLE");
                break;
            }
        }
        assert!(began.elapsed() < PATIENCE, "changes are still acknowledged");
    }
    until("`/ready` says so", async || {
        let (status, part) = readiness(app).await;
        status == 503 && part["required"] == json!(true) && part["detail"].as_str().unwrap_or_default().contains(detail)
    })
    .await;
    assert!(feel(app).await.is_err());
    // Whatever needs no database goes on.
    assert!(app.anon().query("{ price(coin: \"bitcoin\") { amount } }").await.json()["errors"].is_null());

    mend().await;
    until("it heals", async || is_ready(app).await).await;
    until("changes are taken", async || feel(app).await.is_ok()).await;
    let found = version(app).await.expect("it can be read");
    // What timed out may have been done all the same; what was acknowledged must be there.
    assert!(found > acknowledged, "{acknowledged} were acknowledged, and {found} are there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk() {
    let Some(disk) = SmallDisk::mount(4) else { return };
    let mut config = DatabaseConfig::defaults();
    config.folder = disk.path().join("data");
    let app = app(&config).await;
    let said = "the database's disk is full";
    broken_and_healed(&app, said, async || disk.fill(), async || disk.free()).await;
    app.stop().await;
}

/// Lets files of a database be read and not written, not even by root, or written again. Says whether that works here.
fn change(database: &FreshDatabase, flag: &str) -> bool {
    let files = ["tidegate.db", "tidegate.db-wal"].map(|name| database.config.folder.join(name));
    let output = Command::new("chattr").arg(flag).args(files.iter().filter(|file| file.exists())).output();
    let works = output.is_ok_and(|output| output.status.success());
    if !works {
        println!("skipped: chattr does not work here, so that files cannot be made read-only for root");
    }
    works
}

/// Nobody has written before, so that the file is opened for writing only now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_were_opened_while_they_were_read_only() {
    let database = FreshDatabase::sqlite();
    let stores = database.stores().await;
    if !change(&database, "+i") {
        return;
    }
    let write = async || {
        let mut transaction = stores.log.write().await?;
        let Transaction::Sqlite(connection) = &mut transaction else { panic!("this is SQLite") };
        let written = sqlx::query("DELETE FROM commands").execute(&mut **connection).await;
        written.map(drop).map_err(|error| stores.log.failed(error))
    };
    let refused = write().await;
    assert!(change(&database, "-i"));
    assert_eq!(refused, Err(DatabaseError::ReadOnly));
    until("it can be written", async || write().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_became_read_only() {
    let database = FreshDatabase::sqlite();
    let app = app(&database.config).await;
    if !change(&database, "-i") {
        return;
    }
    let broken = async || assert!(change(&database, "+i"));
    let mend = async || assert!(change(&database, "-i"));
    broken_and_healed(&app, "the database", broken, mend).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_gone_and_back() {
    let database = FreshDatabase::sqlite();
    let app = app(&database.config).await;
    let (here, away) = (database.config.folder.join("tidegate.db"), database.config.folder.join("away.db"));
    let broken = async || fs::rename(&here, &away).unwrap();
    let mend = async || fs::rename(&away, &here).unwrap();
    broken_and_healed(&app, "its file is gone", broken, mend).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_and_is_back() {
    let database = FreshDatabase::own_postgres().await;
    let app = app(&database.config).await;
    let broken = async || database.server().kill();
    let mend = async || database.server().start_again().await;
    broken_and_healed(&app, "the database is not available", broken, mend).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent() {
    let database = FreshDatabase::own_postgres().await;
    let app = app(&database.config).await;
    let (broken, mend) = (async || database.server().pause(), async || database.server().resume());
    broken_and_healed(&app, "it does not answer", broken, mend).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_only_be_read() {
    let database = FreshDatabase::own_postgres().await;
    let app = app(&database.config).await;
    let set = |value: &str| {
        for sql in [&format!("ALTER SYSTEM SET default_transaction_read_only = {value}"), "SELECT pg_reload_conf()"] {
            let session = "SET default_transaction_read_only = off; ";
            let done = database.server().psql_each(&[session, sql]);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    };
    let (broken, mend) = (async || set("on"), async || set("off"));
    broken_and_healed(&app, "the database cannot be written", broken, mend).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_after_the_start() {
    let server = PostgresServer::start().await;
    let mut config = DatabaseConfig::defaults();
    config.url = Some(server.url().as_str().into());
    config.master_key = Some("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into());
    server.kill();
    let app = app(&config).await;
    assert!(!is_ready(&app).await);
    assert_eq!(feel(&app).await, Err("UPSTREAM_UNAVAILABLE".to_owned()));
    server.start_again().await;
    until("it is ready", async || is_ready(&app).await).await;
    // No token counts before it is known what was revoked.
    until("changes are taken", async || feel(&app).await.is_ok()).await;
    app.stop().await;
}

/// Whether somebody must show a second factor stands in the database: without it, nobody passes as one who need not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_does_what_needs_a_second_factor_without_the_database() {
    const RESET: &str = "mutation { upstreamReset(input: {name: \"coingecko\"}) { upstream { name } } }";
    let database = FreshDatabase::sqlite();
    let app = app(&database.config).await;
    let admin = app.admin();
    assert!(admin.query(RESET).await.json()["errors"].is_null());
    let (here, away) = (database.config.folder.join("tidegate.db"), database.config.folder.join("away.db"));
    fs::rename(&here, &away).unwrap();
    let refused = async || admin.query(RESET).await.json()["errors"][0]["extensions"]["code"] == "UPSTREAM_UNAVAILABLE";
    until("it is refused", refused).await;
    fs::rename(&away, &here).unwrap();
    until("it is done again", async || admin.query(RESET).await.json()["errors"].is_null()).await;
    app.stop().await;
}
