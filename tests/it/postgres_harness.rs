//! The harness itself: what the other tests believe when they say that PostgreSQL was killed and started again.

use sqlx::{Connection, PgConnection};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use url::Url;

use crate::harness::{PostgresServer, until};

fn address(server: &PostgresServer) -> (&'static str, u16) {
    ("127.0.0.1", Url::parse(&server.url()).unwrap().port().unwrap())
}

/// A postmaster that finds the memory of the last one in use does not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_leaves_no_process() {
    let server = PostgresServer::hasty().await;
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let url = server.url();
        callers.spawn(async move {
            loop {
                // Each is a process that the postmaster starts.
                let _ = PgConnection::connect(&url).await;
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..5 {
        server.kill();
        server.start_again().await;
    }
    assert!(!server.log().contains("shared memory"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_waits_for_its_port_and_is_not_taken_for_another() {
    let (ours, other) = (PostgresServer::hasty().await, PostgresServer::hasty().await);
    ours.kill();
    let door = TcpListener::bind(address(&ours)).await.unwrap();
    let others = address(&other);
    let carrying = tokio::spawn(async move {
        while let Ok((mut client, _)) = door.accept().await {
            let mut server = TcpStream::connect(others).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    });
    assert!(ours.psql("SELECT 1").status.success(), "somebody answers");
    let closing = async {
        until("it tries twice", async || ours.log().matches("could not bind").count() > 1).await;
        carrying.abort();
    };
    tokio::join!(ours.start_again(), closing);
    let folder = |server: &PostgresServer| server.psql("SHOW data_directory").stdout;
    assert_ne!(folder(&ours), folder(&other));
}
