//! The network between a client and a server on loopback, with its faults on demand.
//!
//! What it holds back it delivers later, in order, as TCP does after a cut that both ends survived; it never loses
//! bytes out of the middle of a stream. The server's end is looked up anew for every connection.

use std::{io, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::ports::free_port;

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Passes {
        after: Duration,
    },
    /// Neither direction arrives.
    Stalls,
    /// What the client says does not arrive; what the server says does.
    HalfOpen,
}

/// Which way a byte goes.
#[derive(Clone, Copy)]
enum Way {
    ToServer,
    ToClient,
}

/// A port that leads to another one.
pub(crate) struct Proxy {
    port: u16,
    target: u16,
    traffic: watch::Sender<Traffic>,
    /// Grows with every reset; connections that are older end.
    resets: watch::Sender<u64>,
    door: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// To `target` on loopback, whether somebody listens there yet or not.
    pub(crate) async fn start(target: u16) -> Self {
        let proxy = Self {
            port: free_port(),
            target,
            traffic: watch::Sender::new(Traffic::Passes { after: Duration::ZERO }),
            resets: watch::Sender::new(0),
            door: Mutex::new(None),
        };
        proxy.open().await;
        proxy
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As of a Redis without password.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Everything arrives again, and what was held back first.
    pub(crate) async fn pass(&self) {
        self.traffic.send_replace(Traffic::Passes { after: Duration::ZERO });
        self.open().await;
    }

    /// A black hole: connections are accepted and kept, and nothing arrives.
    pub(crate) fn stall(&self) {
        self.traffic.send_replace(Traffic::Stalls);
    }

    /// Nothing of what the client says arrives, while the server is heard.
    pub(crate) fn half_open(&self) {
        self.traffic.send_replace(Traffic::HalfOpen);
    }

    /// Both directions arrive this much later.
    pub(crate) fn latency(&self, after: Duration) {
        self.traffic.send_replace(Traffic::Passes { after });
    }

    /// Ends every connection with a RST at both ends. New ones are as good as before.
    pub(crate) fn reset(&self) {
        self.resets.send_modify(|resets| *resets += 1);
    }

    /// The same, and nobody listens any more until [`Proxy::pass`].
    pub(crate) async fn refuse(&self) {
        let door = self.door.lock().take();
        if let Some(door) = door {
            door.abort();
            // The port is closed when the task is gone, not when it was told to go.
            let _ = door.await;
        }
        self.reset();
    }

    async fn open(&self) {
        if self.door.lock().is_some() {
            return;
        }
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.expect("the port is ours");
        let (target, traffic, resets) = (self.target, self.traffic.clone(), self.resets.clone());
        let door = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target, traffic.subscribe(), resets.subscribe()));
            }
        });
        *self.door.lock() = Some(door);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(door) = self.door.lock().take() {
            door.abort();
        }
        self.reset();
    }
}

async fn carry(
    mut client: TcpStream,
    target: u16,
    traffic: watch::Receiver<Traffic>,
    mut resets: watch::Receiver<u64>,
) {
    resets.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else {
        // As if the client had found nobody there.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let was_reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, Way::ToServer, traffic.clone());
        let down = pump(from_server, to_client, Way::ToClient, traffic);
        tokio::select! {
            () = async { tokio::join!(up, down); } => false,
            _ = resets.changed() => true,
        }
    };
    if was_reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Carries one direction until its end, and passes the end on.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Way,
    mut traffic: watch::Receiver<Traffic>,
) {
    // Between reading and writing, so that latency delays bytes without slowing those behind them.
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let read = async move {
        loop {
            let mut chunk = vec![0; 16_384];
            let Ok(length @ 1..) = from.read(&mut chunk).await else { break };
            chunk.truncate(length);
            if sender.send((Instant::now(), chunk)).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((read_at, chunk)) = under_way.recv().await {
            let after = passes(&mut traffic, way).await;
            sleep_until(read_at + after).await;
            // It may have been cut meanwhile.
            passes(&mut traffic, way).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        passes(&mut traffic, way).await;
        let _: io::Result<()> = to.shutdown().await;
    };
    tokio::join!(read, write);
}

/// Waits until bytes get through this way, and tells how long they are under way.
async fn passes(traffic: &mut watch::Receiver<Traffic>, way: Way) -> Duration {
    let through = traffic.wait_for(|traffic| match (traffic, way) {
        (Traffic::Passes { .. }, _) | (Traffic::HalfOpen, Way::ToClient) => true,
        (Traffic::Stalls, _) | (Traffic::HalfOpen, Way::ToServer) => false,
    });
    match through.await.as_deref() {
        Ok(Traffic::Passes { after }) => *after,
        _ => Duration::ZERO,
    }
}
