//! A node that tells what another one does, with a fault of its own: it lags, it lies, it is overloaded.

use std::{future::pending, net::Ipv4Addr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use parking_lot::Mutex;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It knows nothing of so many of the newest blocks.
    Lags(u64),
    /// Balances are one more than they are.
    Lies,
    /// HTTP's 429.
    Overloaded,
    /// A status of 200 over something that is no JSON.
    Garbage,
    /// An answer of JSON-RPC that blames the node.
    Broken,
    /// It gives the logs of no more than so many blocks at once.
    Narrow(u64),
    /// Transactions are taken, and nothing is said to that.
    Mute,
    /// Transactions are not even taken, and nothing is said to that.
    Deaf,
}

/// An EVM node before another one.
pub(crate) struct Relay {
    url: String,
    fault: Arc<Mutex<Fault>>,
    served: JoinHandle<()>,
}

#[derive(Clone)]
struct Behind {
    client: Client,
    node: String,
    fault: Arc<Mutex<Fault>>,
}

impl Relay {
    pub(crate) async fn start(node: &str) -> Self {
        let fault = Arc::new(Mutex::new(Fault::None));
        let client = Client::builder().no_proxy().build().expect("a client");
        let behind = Behind { client, node: node.to_owned(), fault: Arc::clone(&fault) };
        let router = Router::new().route("/", post(answer)).with_state(behind);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let served = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Self { url, fault, served }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.served.abort();
    }
}

async fn answer(State(behind): State<Behind>, body: Bytes) -> Response {
    let request = serde_json::from_slice(&body).expect("JSON");
    let fault = *behind.fault.lock();
    match fault {
        Fault::Overloaded => return StatusCode::TOO_MANY_REQUESTS.into_response(),
        Fault::Garbage => return Body::from("<html>").into_response(),
        _ => {}
    }
    let answered = match request {
        Value::Array(requests) => {
            let mut answers = Vec::new();
            for request in requests {
                answers.push(behind.one(request, fault).await);
            }
            Value::Array(answers)
        }
        request => behind.one(request, fault).await,
    };
    Body::from(answered.to_string()).into_response()
}

impl Behind {
    async fn one(&self, mut request: Value, fault: Fault) -> Value {
        let id = request["id"].clone();
        let refused =
            |code: i64, message: &str| json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
        match fault {
            Fault::Broken => return refused(-32_603, "Internal error"),
            Fault::Narrow(most) => {
                let range = &request["params"][0];
                if number(&range["toBlock"]) - number(&range["fromBlock"]) >= most {
                    return refused(-32_005, "query returned more than 10000 results");
                }
            }
            Fault::Lags(blocks) => {
                let known = number(
                    &self.ask(json!({"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []})).await["result"],
                );
                let newest = known.saturating_sub(blocks);
                if request["params"][0] == "latest" {
                    request["params"][0] = json!(format!("{newest:#x}"));
                }
                if let Some(hash) = request["params"][1]["blockHash"].as_str() {
                    let block = self
                        .ask(
                            json!({"jsonrpc": "2.0", "id": 0, "method": "eth_getBlockByHash", "params": [hash, false]}),
                        )
                        .await;
                    if number(&block["result"]["number"]) > newest {
                        return refused(-32_000, "header not found");
                    }
                }
            }
            _ => {}
        }
        let is_balance = request["method"] == "eth_getBalance";
        let is_send = request["method"] == "eth_sendRawTransaction";
        if is_send && fault == Fault::Deaf {
            return pending().await;
        }
        let mut answer = self.ask(request).await;
        if is_send && fault == Fault::Mute {
            return pending().await;
        }
        if fault == Fault::Lies && is_balance {
            let balance = u128::from_str_radix(&answer["result"].as_str().expect("a balance")[2..], 16).expect("hex");
            answer["result"] = json!(format!("{:#x}", balance + 1));
        }
        answer
    }

    async fn ask(&self, request: Value) -> Value {
        let response =
            self.client.post(&self.node).header("content-type", "application/json").body(request.to_string());
        let text = response.send().await.expect("the node answers").text().await.expect("a body");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()).unwrap_or_default()
}
