//! The promises of the room, one file per subject.

mod breaker;
mod opossum;
mod outbound;
mod policy;
mod probe;
mod upstreams;

use std::{pin::Pin, sync::Arc, task::Poll, time::Duration};

use chrono::DateTime;

use super::{BreakerOptions, CallError, PolicyOptions};
use crate::{config::ResilienceConfig, model::Clock};

/// A clock that follows the paused timer.
fn clock() -> Clock {
    Clock::stepped_from(DateTime::UNIX_EPOCH)
}

/// Options of the size of a test: trips on the third failure of three, resets after a second.
fn options() -> BreakerOptions {
    BreakerOptions {
        timeout: Duration::from_millis(100),
        volume_threshold: 3,
        reset_timeout: Duration::from_secs(1),
        ..PolicyOptions::from(&ResilienceConfig::defaults()).breaker
    }
}

fn status(code: u16) -> CallError {
    CallError::Upstream { status: Some(code), detail: Arc::from("test") }
}

async fn answer<T, E>(result: Result<T, E>) -> Result<T, E> {
    result
}

async fn hang() -> Result<(), CallError> {
    std::future::pending().await
}

/// The future's value if it is ready now.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn herald() -> super::herald::Herald {
    super::herald::Herald::new("x".into(), super::events::Events::new())
}
