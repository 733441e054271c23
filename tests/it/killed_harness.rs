//! The harness itself: a test process that is killed leaves nothing behind, although nothing in it is dropped.

use std::{
    io::{self, Read},
    net::TcpStream,
    path::Path,
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use url::Url;

use crate::harness::{Anvil, PostgresServer, RedisServer, SmallDisk, Svm, home, until};

/// Set for the process that is to be killed.
const VICTIM: &str = "TIDEGATE_TEST_VICTIM";

/// Starts what is to be cleared up, says where it is, and waits to be killed, or for the end of the test.
async fn be_killed() {
    let (postgres, redis, _disk) = (PostgresServer::hasty().await, RedisServer::start().await, SmallDisk::mount(1));
    let (anvil, svm) = (Anvil::start().await, Svm::start().await);
    postgres.pause();
    anvil.pause();
    println!("\nstarted {} {} {} {} {}", home().display(), postgres.url(), redis.url(), anvil.url(), svm.url());
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

fn is_open(url: &str) -> bool {
    TcpStream::connect(("127.0.0.1", Url::parse(url).unwrap().port().unwrap())).is_ok()
}

/// The test binary again, with nothing but this test.
async fn killed_by(signal: &str, whom: impl Fn(u32) -> String) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "killed_harness::a_killed_process_leaves_nothing"])
        .env(VICTIM, "")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It would end by itself without.
    let _stdin = victim.stdin.take();
    let mut printed = BufReader::new(victim.stdout.take().unwrap()).lines();
    let started = loop {
        let line = printed.next_line().await.unwrap().expect("it says what it has started");
        if let Some(started) = line.strip_prefix("started ") {
            break started.to_owned();
        }
    };
    let (folder, urls) = started.split_once(' ').unwrap();
    let urls: Vec<_> = urls.split(' ').collect();
    let open = || urls.iter().filter(|url| is_open(url)).count();
    assert!(Path::new(folder).exists() && open() == 4);

    let whom = whom(victim.id().unwrap());
    assert!(Command::new("kill").args(["-s", signal, "--", &whom]).status().await.unwrap().success());
    assert!(!victim.wait().await.unwrap().success());
    until("the folder is gone", async || !Path::new(folder).exists()).await;
    assert_eq!(open(), 0, "what worked in the folder went first");
}

#[tokio::test]
async fn a_killed_process_leaves_nothing() {
    if std::env::var_os(VICTIM).is_some() {
        return be_killed().await;
    }
    killed_by("KILL", |process| process.to_string()).await;
    // The whole group, as Ctrl-C does, whose own signal is ignored where a shell has started the tests in the background.
    killed_by("TERM", |group| format!("-{group}")).await;
}
