//! Sockets whose bytes are wrong: each gets the code that says why, and the server goes on.

use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::harness::{TYPENAME, TestApp, Wire, frame, subscribe};

const TEXT: u8 = 1;
const BINARY: u8 = 2;

#[tokio::test]
async fn broken_frames_are_closed_with_their_code() {
    let app = TestApp::start().await;
    let unmasked = [0x81, 0x02, b'{', b'}'];
    let reserved_bits = [0xf1, 0x80, 0, 0, 0, 0];
    let too_long = [&[0x81, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    for (name, bytes, code) in [
        ("text that is not UTF-8", frame(TEXT, b"\xff\xfe"), 1007),
        ("binary", frame(BINARY, b"{}"), 4400),
        ("a client's frame without a mask", unmasked.to_vec(), 1002),
        ("reserved bits", reserved_bits.to_vec(), 1002),
        ("an unknown opcode", frame(5, b""), 1002),
        ("a terabyte announced", too_long, 1009),
        ("not JSON", frame(TEXT, b"{"), 4400),
    ] {
        let mut wire = Wire::upgraded(&app).await;
        wire.write(&bytes).await;
        wire.finish_writing().await;
        assert_eq!(wire.close_code().await, code, "{name}");
    }
    assert_eq!(app.anon().query(TYPENAME).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_truncated_frame_is_not_waited_for_forever() {
    let app = TestApp::builder().config(|config| config.http.ws.init_timeout_ms = 100).start().await;
    let half = &frame(TEXT, br#"{"type":"connection_init"}"#)[..12];
    let mut waiting = Wire::upgraded(&app).await;
    waiting.write(half).await;
    assert_eq!(waiting.close_code().await, 4408, "half a message is none");
    let mut leaving = Wire::upgraded(&app).await;
    leaving.write(half).await;
    leaving.finish_writing().await;
    assert!(leaving.read_to_end().await.is_empty(), "who has left is told nothing");
}

#[tokio::test]
async fn a_large_message_is_1009() {
    let app = TestApp::start().await;
    let mut socket = app.anon().connect().await;
    socket.send(subscribe("1", &"x".repeat(300 * 1024))).await;
    assert_eq!(socket.closed().await.0, 1009);
}

#[tokio::test]
async fn pings_of_the_transport_are_answered() {
    let app = TestApp::start().await;
    let mut socket = app.anon().connect().await;
    socket.send_raw(Message::Ping(Bytes::from_static(b"x"))).await;
    socket.send(subscribe("1", TYPENAME)).await;
    assert_eq!(socket.message().await["type"], "next");
}

#[tokio::test]
async fn whoever_does_not_answer_pings_is_dropped() {
    let app = TestApp::builder()
        .config(|config| {
            config.http.ws.ping_interval_ms = 100;
            config.http.ws.pong_timeout_ms = 100;
        })
        .start()
        .await;
    let mut wire = Wire::upgraded(&app).await;
    wire.write(&frame(TEXT, br#"{"type":"connection_init"}"#)).await;
    assert_eq!(wire.close_code().await, 4408);
}

#[tokio::test]
async fn a_flood_that_is_not_read_ends_the_socket_and_says_so() {
    let app = TestApp::builder().config(|config| config.http.ws.max_queue_bytes = 16_384).start().await;
    let mut wire = Wire::upgraded(&app).await;
    wire.write(&frame(TEXT, br#"{"type":"connection_init"}"#)).await;
    let ping = frame(TEXT, br#"{"type":"ping","payload":{"x":"0123456789012345678901234567890123456789"}}"#);
    // More than fits into the socket buffers of both sides: the server must give up, not grow.
    wire.write_as_far_as_possible(&ping.repeat(400_000)).await;
    wire.finish_writing().await;
    let heard = wire.read_to_end().await;
    let close = [&[0x88, 20][..], &1013_u16.to_be_bytes(), b"reading too slowly"].concat();
    assert!(heard.ends_with(&close), "told, also to who reads only now; heard {} bytes", heard.len());
    assert_eq!(app.anon().query(TYPENAME).await.status.as_u16(), 200);
}
