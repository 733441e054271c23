//! The driver on a paused clock, with a socket and operations that the test holds in its hands.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::extract::ws::Message;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use futures_util::{FutureExt, Sink, Stream, StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    connection::Session,
    operations::{Event, Events, Service},
};
use crate::{
    auth::AuthError,
    config::{HttpConfig, WebSocketConfig},
    graphql::GraphqlRequest,
    model::{Clock, Principal, Role},
};

/// The client's hands on a running conversation.
struct Peer {
    says: mpsc::UnboundedSender<Result<Message, axum::Error>>,
    wire: Arc<Mutex<Wire>>,
    conversation: JoinHandle<()>,
    shutdown: CancellationToken,
}

/// What the server wrote, and how much more it may write before the client reads.
struct Wire {
    room: usize,
    written: Vec<Message>,
    blocked: Option<Waker>,
}

struct TestSocket {
    heard: mpsc::UnboundedReceiver<Result<Message, axum::Error>>,
    wire: Arc<Mutex<Wire>>,
}

impl Stream for TestSocket {
    type Item = Result<Message, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.heard.poll_recv(cx)
    }
}

impl Sink<Message> for TestSocket {
    type Error = axum::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        let mut wire = self.wire.lock();
        if wire.room > 0 {
            return Poll::Ready(Ok(()));
        }
        wire.blocked = Some(cx.waker().clone());
        Poll::Pending
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
        let mut wire = self.wire.lock();
        // Like the real one, it keeps what it cannot write yet.
        wire.room = wire.room.saturating_sub(1);
        wire.written.push(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }
}

fn limits() -> WebSocketConfig {
    HttpConfig::defaults().ws
}

/// A conversation whose operations are made by `start` from the document.
fn meet(limits: WebSocketConfig, start: impl Fn(&str) -> Events + Send + 'static) -> Peer {
    let (says, heard) = mpsc::unbounded_channel();
    let wire = Arc::new(Mutex::new(Wire { room: usize::MAX, written: Vec::new(), blocked: None }));
    let shutdown = CancellationToken::new();
    let clock = Clock::stepped_from(DateTime::UNIX_EPOCH);
    let session = Session {
        service: service(clock.clone(), start),
        authorization: None,
        limits,
        clock,
        shutdown: shutdown.clone(),
    };
    let socket = TestSocket { heard, wire: Arc::clone(&wire) };
    Peer { says, wire, conversation: tokio::spawn(session.converse(socket)), shutdown }
}

/// Tokens are the seconds that they live. Checking one takes a while, as fetching keys does.
fn service(clock: Clock, start: impl Fn(&str) -> Events + Send + 'static) -> Service {
    Service {
        sign_in: Box::new(move |authorization| {
            let now = clock.now();
            let sign_in = async move {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                let Some(header) = authorization else { return Ok(None) };
                let seconds = header.strip_prefix("Bearer ").and_then(|text| text.parse().ok());
                let lifetime = TimeDelta::seconds(seconds.ok_or(AuthError::Malformed)?);
                Ok(Some(Principal { subject: "alice".into(), role: Role::User, expires_at: Some(now + lifetime) }))
            };
            sign_in.boxed()
        }),
        start: Box::new(move |request: GraphqlRequest, _| start(&request.query.unwrap_or_default())),
        errors: Box::new(|code, message| {
            json!([{"message": message, "extensions": {"code": code.as_str()}}]).to_string().into()
        }),
    }
}

impl Peer {
    fn say(&self, message: &Value) {
        self.says.send(Ok(Message::text(message.to_string()))).unwrap();
    }

    /// Opens the conversation; the socket takes only `room` messages after the acknowledgement.
    async fn open(&self, token: Option<&str>, room: usize) {
        self.read(1);
        self.say(&json!({"type": "connection_init", "payload": token.map(|token| json!({"token": token}))}));
        assert_eq!(self.heard().await, [r#"{"type":"connection_ack"}"#]);
        self.read(room);
    }

    fn subscribe(&self, id: &str, document: &str) {
        self.say(&json!({"id": id, "type": "subscribe", "payload": {"query": document}}));
    }

    /// The socket takes only this many further messages.
    fn read(&self, messages: usize) {
        let mut wire = self.wire.lock();
        wire.room = messages;
        if let Some(waker) = wire.blocked.take() {
            waker.wake();
        }
    }

    /// What was written since the last call, as text; pings as `ping`, the close frame as its code.
    async fn heard(&self) -> Vec<String> {
        settle().await;
        let written = std::mem::take(&mut self.wire.lock().written);
        let show = |message| match message {
            Message::Text(text) => text.to_string(),
            Message::Ping(_) => "ping".to_owned(),
            Message::Close(Some(frame)) => frame.code.to_string(),
            other => panic!("unexpected {other:?}"),
        };
        written.into_iter().map(show).collect()
    }
}

/// Lets every task run until all of them wait; time stands still.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn nexts(heard: &[String], id: &str) -> usize {
    heard.iter().filter(|text| text.starts_with(&format!(r#"{{"id":"{id}","type":"next""#))).count()
}

/// Results as fast as they are asked for; counts how many were.
fn busy(made: Arc<AtomicUsize>) -> Events {
    stream::repeat_with(move || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        Event::Next(Bytes::from(format!("{{\"data\":{number}}}")))
    })
    .boxed()
}

fn silent() -> Events {
    stream::pending().boxed()
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_one_result_of_each_operation() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let peer = meet(limits(), move |_| busy(Arc::clone(&counter)));
    peer.open(None, 0).await;
    peer.subscribe("1", "{a}");
    assert_eq!(peer.heard().await, [""; 0]);
    assert_eq!(made.load(Ordering::Relaxed), 1, "the operation is not asked for more than one unread result");
    peer.read(3);
    assert_eq!(nexts(&peer.heard().await, "1"), 3);
    assert_eq!(made.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_the_init_waits_for_its_end() {
    for (token, expected) in [("60", &[r#"{"type":"connection_ack"}"#, "error"][..]), ("bad", &["4403"])] {
        let peer = meet(limits(), |_| stream::iter([Event::Failed(Bytes::from_static(b"[]"))]).boxed());
        peer.say(&json!({"type": "connection_init", "payload": {"token": token}}));
        peer.subscribe("1", "{a}");
        let heard = peer.heard().await;
        assert!(heard.iter().zip(expected).all(|(heard, expected)| heard.contains(expected)), "{heard:?}");
        assert_eq!(heard.len(), expected.len(), "{heard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_operation_does_not_starve_the_others() {
    let peer = meet(limits(), |_| busy(Arc::default()));
    peer.open(None, 0).await;
    for id in ["1", "2", "3"] {
        peer.subscribe(id, "{a}");
    }
    peer.heard().await;
    peer.read(300);
    let heard = peer.heard().await;
    for id in ["1", "2", "3"] {
        assert!((90..=110).contains(&nexts(&heard, id)), "{id}: {} of {}", nexts(&heard, id), heard.len());
    }
}

#[tokio::test(start_paused = true)]
async fn completing_drops_the_operation_at_once() {
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    // Once while it waits for events, and once while its result waits for the reader.
    for is_busy in [false, true] {
        let dropped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&dropped);
        let peer = meet(limits(), move |_| {
            let flag = Flag(Arc::clone(&flag));
            let events = if is_busy { busy(Arc::default()) } else { silent() };
            let events = events.map(move |event| {
                // Named, so that the stream owns it for as long as it lives.
                let Flag(_) = &flag;
                event
            });
            events.boxed()
        });
        peer.open(None, 0).await;
        peer.subscribe("1", "{a}");
        peer.heard().await;
        assert!(!dropped.load(Ordering::Relaxed));
        peer.say(&json!({"id": "1", "type": "complete"}));
        settle().await;
        assert!(dropped.load(Ordering::Relaxed), "busy: {is_busy}");
        peer.read(9);
        assert_eq!(peer.heard().await, [""; 0], "nothing of it is sent any more");
        peer.subscribe("1", "{a}");
        settle().await;
        drop(peer.says);
        peer.conversation.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn replies_that_nobody_reads_end_the_socket() {
    let mut limits = limits();
    limits.max_queue_bytes = 16_384;
    let peer = meet(limits, |_| silent());
    peer.open(None, 0).await;
    for _ in 0..500 {
        peer.say(&json!({"type": "ping", "payload": {"x": "0123456789"}}));
    }
    settle().await;
    peer.read(9);
    let heard = peer.heard().await;
    assert_eq!(heard.last().map(String::as_str), Some("1013"), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_operation_is_4500() {
    let peer = meet(limits(), |_| stream::once(async { panic!("as the test wants it") }).boxed());
    peer.open(None, usize::MAX).await;
    peer.subscribe("1", "{a}");
    assert_eq!(peer.heard().await.last().map(String::as_str), Some("4500"));
}

#[tokio::test(start_paused = true)]
async fn an_ending_token_ends_its_operations_on_the_second() {
    let peer = meet(limits(), |_| silent());
    peer.open(Some("12"), usize::MAX).await;
    peer.subscribe("1", "{a}");
    peer.heard().await;
    tokio::time::advance(Duration::from_millis(11_999)).await;
    assert_eq!(peer.heard().await, [""; 0]);
    tokio::time::advance(Duration::from_millis(1)).await;
    let heard = peer.heard().await;
    assert!(heard[0].starts_with(r#"{"id":"1","type":"error""#) && heard[0].contains("UNAUTHENTICATED"), "{heard:?}");
    peer.subscribe("2", "{a}");
    assert!(peer.heard().await[0].contains("UNAUTHENTICATED"));
    assert!(!peer.conversation.is_finished(), "the socket stays");
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_asked_and_dropped_when_it_does_not_answer() {
    let peer = meet(limits(), |_| silent());
    peer.open(None, usize::MAX).await;
    peer.heard().await;
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(peer.heard().await, ["ping"]);
    tokio::time::advance(Duration::from_secs(9)).await;
    peer.says.send(Ok(Message::Pong(Bytes::new()))).unwrap();
    settle().await;
    tokio::time::advance(Duration::from_secs(15)).await;
    assert_eq!(peer.heard().await, ["ping"], "the pong began a new round");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(peer.heard().await, ["4408"]);
}

#[tokio::test(start_paused = true)]
async fn init_has_a_deadline_that_subscribing_does_not_move() {
    let peer = meet(limits(), |_| silent());
    settle().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    peer.say(&json!({"type": "ping"}));
    peer.heard().await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(peer.heard().await, ["4408"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_completes_and_closes() {
    let peer = meet(limits(), |_| busy(Arc::default()));
    peer.open(None, 0).await;
    peer.subscribe("1", "{a}");
    peer.heard().await;
    peer.shutdown.cancel();
    settle().await;
    peer.read(9);
    assert_eq!(peer.heard().await, [r#"{"id":"1","type":"complete"}"#, "1001"]);
}
