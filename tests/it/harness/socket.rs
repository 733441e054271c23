//! Callers over WebSocket.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http},
};

use super::{Actor, PATIENCE};

/// A client's end of a socket.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What came from the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Message(Value),
    Closed(u16, String),
    /// The connection ended without a close frame.
    Gone,
}

impl Actor<'_> {
    /// A socket with the sub-protocol, before `connection_init`.
    pub(crate) async fn dial(&self) -> Socket {
        self.dial_with(&[("sec-websocket-protocol", "graphql-transport-ws")]).await.expect("the upgrade succeeds")
    }

    /// A socket with these headers only, or the HTTP status that refused it.
    pub(crate) async fn dial_with(&self, headers: &[(&str, &str)]) -> Result<Socket, u16> {
        let url = format!("ws://{}/graphql", self.app().address);
        let mut request = url.into_client_request().expect("a valid address");
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().expect("a header's name");
            request.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        match connect_async(request).await {
            Ok((stream, _)) => Ok(Socket(stream)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("the upgrade failed without a status: {error}"),
        }
    }

    /// A socket that was acknowledged, signed in as this actor by `connection_init`.
    pub(crate) async fn connect(&self) -> Socket {
        let mut socket = self.dial().await;
        let payload = self.token().map(|token| json!({"Authorization": format!("Bearer {token}")}));
        socket.send(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.heard().await, Heard::Message(json!({"type": "connection_ack"})));
        socket
    }
}

/// The message that starts an operation.
pub(crate) fn subscribe(id: &str, document: &str) -> Value {
    json!({"id": id, "type": "subscribe", "payload": {"query": document}})
}

impl Socket {
    pub(crate) async fn send(&mut self, message: Value) {
        self.send_raw(Message::text(message.to_string())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.0.send(message).await.expect("the server reads");
    }

    /// The next thing that matters: a message or the end.
    pub(crate) async fn heard(&mut self) -> Heard {
        timeout(PATIENCE, self.next()).await.expect("the server says something")
    }

    async fn next(&mut self) -> Heard {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Message(serde_json::from_str(&text).expect("the server sends JSON"));
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    let ended = Heard::Closed(frame.code.into(), frame.reason.to_string());
                    // The answer to the close frame is sent by reading on.
                    while let Some(Ok(_)) = self.0.next().await {}
                    return ended;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("the server sent {other:?}"),
                Some(Err(_)) | None => return Heard::Gone,
            }
        }
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Value {
        match self.heard().await {
            Heard::Message(message) => message,
            other => panic!("expected a message, heard {other:?}"),
        }
    }

    /// Reads over messages until the socket is closed, and gives code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.heard().await {
                Heard::Message(_) => {}
                Heard::Closed(code, reason) => return (code, reason),
                Heard::Gone => panic!("the server hung up without a close frame"),
            }
        }
    }
}
