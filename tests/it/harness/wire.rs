//! Callers that write bytes, for what no decent client would send.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{PATIENCE, TestApp};

/// A bare connection.
pub(crate) struct Wire(TcpStream);

const UPGRADE: &str = "GET /graphql HTTP/1.1\r\nHost: tidegate\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n";

impl Wire {
    pub(crate) async fn open(app: &TestApp) -> Self {
        Self(TcpStream::connect(app.address).await.expect("the server listens"))
    }

    /// A connection that was upgraded to a WebSocket.
    pub(crate) async fn upgraded(app: &TestApp) -> Self {
        let mut wire = Self::open(app).await;
        wire.write(UPGRADE.as_bytes()).await;
        let head = wire.read_until(b"\r\n\r\n").await;
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        wire
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the server reads");
    }

    /// Writes until the server stops taking it.
    pub(crate) async fn write_as_far_as_possible(&mut self, bytes: &[u8]) {
        drop(timeout(PATIENCE, self.0.write_all(bytes)).await.expect("the server reads or hangs up"));
    }

    /// No more will come from this side; the other side may still write.
    pub(crate) async fn finish_writing(&mut self) {
        self.0.shutdown().await.expect("the connection is open");
    }

    pub(crate) async fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut seen = Vec::new();
        while !seen.ends_with(end) {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.expect("the server says something");
            seen.push(byte.expect("the server has not hung up"));
        }
        seen
    }

    /// Everything until the server hangs up.
    pub(crate) async fn read_to_end(&mut self) -> Vec<u8> {
        let mut seen = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut seen)).await.expect("the server hangs up");
        // A reset is also an end.
        drop(read);
        seen
    }

    /// The close code in a stream of unmasked frames that ends with a close frame.
    pub(crate) async fn close_code(&mut self) -> u16 {
        let bytes = self.read_to_end().await;
        let mut rest = &bytes[..];
        while let [first, length, tail @ ..] = rest {
            let (length, body) = match length {
                126 => (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..]),
                127 => panic!("no frame of the tests is that long"),
                length => (usize::from(*length), tail),
            };
            if first & 0x0f == 0x8 {
                return u16::from_be_bytes([body[0], body[1]]);
            }
            rest = &body[length..];
        }
        panic!("no close frame in {bytes:?}");
    }
}

/// A client's frame: final, with this opcode, masked with zeros.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short frames only");
    assert!(length < 126, "short frames only");
    [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()
}
