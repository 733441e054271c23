//! Callers over HTTP.

use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap},
};
use serde_json::{Value, json};

use super::{PATIENCE, TestApp};

/// Somebody who calls a server, with a token or without.
#[derive(Clone)]
pub(crate) struct Actor<'a> {
    pub(super) app: &'a TestApp,
    pub(super) token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Actor<'_> {
    /// Posts a document and takes `application/graphql-response+json`.
    pub(crate) async fn query(&self, document: &str) -> Reply {
        self.post(&json!({"query": document})).await
    }

    /// Posts a whole envelope.
    pub(crate) async fn post(&self, envelope: &Value) -> Reply {
        self.post_bytes(envelope.to_string().into_bytes()).await
    }

    /// Posts any bytes as JSON.
    pub(crate) async fn post_bytes(&self, body: Vec<u8>) -> Reply {
        let accept = "application/graphql-response+json";
        let request = self.request(Method::POST, "/graphql").header(ACCEPT, accept);
        send(request.header(CONTENT_TYPE, "application/json").body(body)).await
    }

    /// A GET, by path and query.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await
    }

    /// A request to be completed by the test.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.app.http.request(method, self.app.url(path)).timeout(PATIENCE);
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(crate) fn app(&self) -> &TestApp {
        self.app
    }
}

/// Sends a request and reads everything.
pub(crate) async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.expect("the server answers");
    let (status, headers) = (response.status(), response.headers().clone());
    Reply { status, headers, text: response.text().await.expect("the answer is whole") }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// `extensions.code` of the first error.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        let code = json["errors"][0]["extensions"]["code"].as_str();
        code.unwrap_or_else(|| panic!("no code in {json}")).to_owned()
    }

    /// A header's text, empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("header values are text")).unwrap_or_default()
    }

    /// Asserts that the request was refused in the one shape of errors, and gives the message.
    pub(crate) fn refused(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status.as_u16(), self.code().as_str()), (status, code), "{}", self.text);
        let json = self.json();
        assert!(json.get("data").is_none(), "refused before execution: {json}");
        let error = &json["errors"][0];
        assert_eq!(error["extensions"]["requestId"], self.header("x-request-id"), "{json}");
        let message = error["message"].as_str().expect("errors have a message");
        assert!(!message.is_empty());
        message.to_owned()
    }
}
