//! Ports of our own choice, for servers that cannot tell which port the system gave them or must come back to theirs.
//!
//! Below the range from which Linux and macOS take the ports of outgoing connections, so that no client of another
//! test sits on the port of a server that is down for a moment. The port of the cluster bus, 10,000 above, is below
//! that range too.

use std::{
    net::TcpListener,
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

const FIRST: u16 = 11_000;
const COUNT: u16 = 11_000;
/// How far the port of the cluster bus is above the port for clients.
const BUS: u16 = 10_000;

/// Processes that test side by side begin at different places.
static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
    let scattered = process::id().wrapping_mul(7_919) % u32::from(COUNT);
    AtomicU16::new(u16::try_from(scattered).expect("a remainder of COUNT"))
});

/// A loopback port that was free a moment ago, and which this process has not given out lately. Another process may
/// take it first, so whoever starts a server on it tries again with another.
pub(crate) fn free_port() -> u16 {
    let mut candidates = (0..COUNT).map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT);
    candidates.find(|port| is_free(*port) && is_free(port + BUS)).expect("loopback has free ports")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
