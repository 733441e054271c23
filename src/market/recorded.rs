//! Vendors for tests: each gives one recorded reply to every request, over a real connection, and remembers the requests'
//! heads. The replies are in `tests/fixtures/<vendor>/`.

use std::{fs, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

use crate::{
    config::ResilienceConfig,
    model::{Chance, Clock, Timestamp},
    resilience::{Outbound, Upstreams},
};

/// The heads of the requests that a vendor got.
pub(super) type Heads = Arc<Mutex<Vec<String>>>;

/// A recorded reply.
pub(super) fn fixture(vendor: &str, name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", vendor, name].iter().collect();
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A vendor that gives this answer, and where it is.
pub(super) async fn vendor(answer: Vec<u8>) -> (Url, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/root/", listener.local_addr().unwrap()).parse().unwrap();
    let heads = Heads::default();
    tokio::spawn(serve(listener, answer, Arc::clone(&heads)));
    (base, heads)
}

async fn serve(listener: TcpListener, answer: Vec<u8>, heads: Heads) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let head = read_head(&mut stream).await;
        heads.lock().push(head);
        let _ = stream.write_all(&answer).await;
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
    String::from_utf8(head).unwrap()
}

/// When recorded replies are taken to arrive.
pub(super) fn asked_at() -> Timestamp {
    Timestamp::from_timestamp(1_711_356_400, 0).unwrap()
}

/// How vendors on this machine are called: once, without a second try.
pub(super) fn callers() -> (Upstreams, Outbound, Clock) {
    let mut resilience = ResilienceConfig::defaults();
    resilience.outbound.allow_private_addresses = true;
    resilience.retry.max_tries = 1;
    let clock = Clock::stepped_from(asked_at());
    let upstreams = Upstreams::new(clock.clone(), Chance::seeded(1), &resilience);
    let outbound = Outbound::new(&resilience.outbound, clock.clone()).unwrap();
    (upstreams, outbound, clock)
}
