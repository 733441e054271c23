//! Slow and greedy connections, and the drain.

use std::time::Duration;

use tokio::{net::TcpStream, time::timeout};

use crate::harness::{PATIENCE, TYPENAME, TestApp, Wire};

#[tokio::test]
async fn whoever_does_not_finish_its_head_is_cut_off() {
    let app = TestApp::builder().config(|config| config.http.header_read_timeout_ms = 200).start().await;
    for start in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"POST /graphql HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut wire = Wire::open(&app).await;
        wire.write(start).await;
        let answer = String::from_utf8_lossy(&wire.read_to_end().await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert_eq!(app.anon().query(TYPENAME).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_times_out() {
    let app = TestApp::builder().config(|config| config.http.request_timeout_ms = 200).start().await;
    let mut wire = Wire::open(&app).await;
    let head = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\
        Connection: close\r\n\r\n{\"query\":";
    wire.write(head.as_bytes()).await;
    let answer = String::from_utf8_lossy(&wire.read_to_end().await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("TIMEOUT"), "{answer}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_refused() {
    let app = TestApp::start().await;
    let mut wire = Wire::open(&app).await;
    let head = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{";
    wire.write(head.as_bytes()).await;
    wire.finish_writing().await;
    let answer = String::from_utf8_lossy(&wire.read_to_end().await).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_at_the_limit() {
    let app = TestApp::builder().config(|config| config.http.max_body_bytes = 4_096).start().await;
    let mut wire = Wire::open(&app).await;
    let head =
        "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.write(head.as_bytes()).await;
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for _ in 0..2 {
        wire.write(chunk.as_bytes()).await;
    }
    let answer = String::from_utf8_lossy(&wire.read_until(b"}]}").await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("OPERATION_TOO_COMPLEX"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_free_place() {
    let app = TestApp::builder().config(|config| config.http.max_connections = 1).start().await;
    let first = app.anon().dial().await;
    let second = app.anon();
    let waiting = second.query(TYPENAME);
    let mut waiting = std::pin::pin!(waiting);
    assert!(timeout(Duration::from_millis(200), waiting.as_mut()).await.is_err(), "the socket has the only place");
    drop(first);
    assert_eq!(timeout(PATIENCE, waiting).await.expect("the place is free").status.as_u16(), 200);
}

#[tokio::test]
async fn a_drain_refuses_new_connections_and_ends_idle_ones() {
    let app = TestApp::start().await;
    assert_eq!(app.anon().query(TYPENAME).await.status.as_u16(), 200);
    let address = app.address;
    // The client keeps its connection open, which must not hold the server up.
    app.stop().await;
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_half_a_request() {
    for (half, status) in [
        ("", ""),
        ("POST /graphql HTTP/1.1\r\nHost: x\r\nX-Slow: ", ""),
        (
            "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
            "HTTP/1.1 408",
        ),
    ] {
        let app = TestApp::builder()
            .config(|config| {
                config.http.shutdown_grace_ms = 60_000;
                config.http.header_read_timeout_ms = 60_000;
                config.http.request_timeout_ms = 60_000;
            })
            .start()
            .await;
        let mut wire = Wire::open(&app).await;
        wire.write(half.as_bytes()).await;
        // Another round trip, so that the half request has surely begun.
        app.anon().query(TYPENAME).await;
        timeout(Duration::from_secs(5), app.stop()).await.unwrap_or_else(|_| panic!("{half:?} held the drain up"));
        let answer = String::from_utf8_lossy(&wire.read_to_end().await).into_owned();
        assert!(answer.starts_with(status) && answer.is_empty() == status.is_empty(), "{half:?} got {answer}");
    }
}

#[tokio::test]
async fn http2_without_tls_is_spoken_too() {
    let app = TestApp::start().await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let response = client.get(app.url("/health")).send().await.expect("an answer");
    assert_eq!((response.version(), response.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

#[tokio::test]
async fn a_large_upload_hears_over_http2_why_it_is_refused() {
    let app = TestApp::start().await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    for (content_type, token, status) in
        [("application/json", None, 413), ("text/plain", None, 415), ("application/json", Some("Bearer nonsense"), 401)]
    {
        let mut request = client.post(app.url("/graphql")).header("content-type", content_type).timeout(PATIENCE);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let response = request.body(vec![b' '; 1_100_000]).send().await.expect("an answer");
        assert_eq!((response.version(), response.status().as_u16()), (reqwest::Version::HTTP_2, status));
        assert!(response.text().await.expect("the whole answer").contains("requestId"));
    }
}
