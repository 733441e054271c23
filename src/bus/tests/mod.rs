//! The bus's promises to publishers and readers within one process; those over Redis are tested in `tests/it/bus_redis.rs`.
//! What channels leave behind is tested beside them, in `channel.rs`.

mod resume;

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};

use super::*;
use Delivered::Missed;

fn bus() -> Bus {
    Bus::new(Clock::system(), Chance::seeded(7))
}

/// A message of a topic without history.
#[expect(non_snake_case, reason = "reads as the variant that it makes")]
fn Message<T>(message: T) -> Delivered<T> {
    Delivered::Message { message, position: None, replayed: false }
}

fn latest() -> Topic<u32> {
    Topic::new("price:bitcoin", Delivery::Latest)
}

fn buffered(capacity: usize) -> Topic<u32> {
    Topic::new("emotion:alice", Delivery::Buffer(capacity))
}

/// What the reader can have without waiting.
fn waiting<T: super::Message>(reader: &mut Subscription<T>) -> Vec<Delivered<T>> {
    std::iter::from_fn(|| reader.next().now_or_never().flatten()).collect()
}

#[tokio::test]
async fn every_reader_gets_the_message() {
    let bus = bus();
    let mut readers = [bus.subscribe(&latest()), bus.clone().subscribe(&latest())];
    assert_eq!((bus.publish(&latest(), 7).await, bus.readers(&latest())), (Reach::Here, 2));
    for reader in &mut readers {
        assert_eq!(waiting(reader), [Message(7)]);
    }
}

#[tokio::test]
async fn a_slow_reader_of_the_latest_sees_only_the_newest() {
    let bus = bus();
    let (mut slow, mut fast) = (bus.subscribe(&latest()), bus.subscribe(&latest()));
    for message in 1..=5 {
        bus.publish(&latest(), message).await;
        assert_eq!(waiting(&mut fast), [Message(message)]);
    }
    assert_eq!(waiting(&mut slow), [Message(5)]);
    assert_eq!(waiting(&mut slow), []);
}

#[tokio::test]
async fn a_new_reader_of_the_latest_gets_the_last_message_at_once() {
    let bus = bus();
    let _first = bus.subscribe(&latest());
    bus.publish(&latest(), 1).await;
    bus.publish(&latest(), 2).await;
    let mut second = bus.subscribe(&latest());
    assert_eq!(waiting(&mut second), [Message(2)]);
    bus.publish(&latest(), 3).await;
    assert_eq!(waiting(&mut second), [Message(3)]);
}

#[tokio::test]
async fn nothing_is_remembered_that_nobody_read() {
    let bus = bus();
    bus.publish(&latest(), 1).await;
    let mut reader = bus.subscribe(&latest());
    assert_eq!(waiting(&mut reader), []);
    bus.publish(&latest(), 2).await;
    drop(reader);
    assert_eq!(bus.readers(&latest()), 0);
    assert_eq!(waiting(&mut bus.subscribe(&latest())), []);
}

#[tokio::test]
async fn a_buffer_delivers_all_in_order_from_subscribing_on() {
    let bus = bus();
    let mut early = bus.subscribe(&buffered(8));
    bus.publish(&buffered(8), 1).await;
    let mut late = bus.subscribe(&buffered(8));
    bus.publish(&buffered(8), 2).await;
    bus.publish(&buffered(8), 3).await;
    assert_eq!(waiting(&mut early), [Message(1), Message(2), Message(3)]);
    assert_eq!(waiting(&mut late), [Message(2), Message(3)]);
}

#[tokio::test]
async fn a_reader_that_lags_is_told_how_much_it_missed() {
    let bus = bus();
    let (mut slow, mut fast) = (bus.subscribe(&buffered(4)), bus.subscribe(&buffered(4)));
    for message in 1..=10 {
        bus.publish(&buffered(4), message).await;
        assert_eq!(waiting(&mut fast), [Message(message)]);
    }
    assert_eq!(waiting(&mut slow), [Missed(Some(6)), Message(7), Message(8), Message(9), Message(10)]);
    bus.publish(&buffered(4), 11).await;
    assert_eq!(waiting(&mut slow), [Message(11)]);
}

#[tokio::test]
async fn the_size_of_a_buffer_is_kept_within_bounds() {
    for capacity in [0, usize::MAX] {
        let bus = bus();
        let mut reader = bus.subscribe(&buffered(capacity));
        bus.publish(&buffered(capacity), 1).await;
        assert_eq!(waiting(&mut reader), [Message(1)], "{capacity}");
    }
}

#[tokio::test]
async fn topics_do_not_mix_even_under_one_name() {
    let bus = bus();
    let words: Topic<Arc<str>> = Topic::new(latest().name(), Delivery::Latest);
    let (mut numbers, mut texts) = (bus.subscribe(&latest()), bus.subscribe(&words));
    let mut queued = bus.subscribe(&Topic::new(latest().name(), Delivery::Buffer(4)));
    bus.publish(&latest(), 1).await;
    bus.publish(&words, "one".into()).await;
    assert_eq!(waiting(&mut numbers), [Message(1)]);
    assert_eq!(waiting(&mut texts), [Message("one".into())]);
    assert_eq!(waiting::<u32>(&mut queued), []);
}

#[tokio::test]
async fn one_reader_leaving_does_not_disturb_the_others() {
    let bus = bus();
    let (leaving, mut staying) = (bus.subscribe(&buffered(4)), bus.subscribe(&buffered(4)));
    bus.publish(&buffered(4), 1).await;
    drop(leaving);
    bus.publish(&buffered(4), 2).await;
    assert_eq!(waiting(&mut staying), [Message(1), Message(2)]);
}

#[tokio::test]
async fn subscriptions_end_with_the_last_handle_of_the_bus() {
    let bus = bus();
    let mut reader = bus.subscribe(&buffered(4));
    let mut newest = bus.subscribe(&latest());
    let handle = bus.clone();
    drop(bus);
    handle.publish(&buffered(4), 1).await;
    drop(handle);
    assert_eq!(reader.next().now_or_never(), Some(Some(Message(1))));
    assert_eq!(reader.next().now_or_never(), Some(None));
    assert_eq!(newest.next().now_or_never(), Some(None));
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let bus = bus();
    let (mut newest, mut queued) = (bus.subscribe(&latest()), bus.subscribe(&buffered(4)));
    let waiting = tokio::spawn(async move { (newest.next().await, queued.next().await) });
    tokio::task::yield_now().await;
    bus.publish(&latest(), 1).await;
    tokio::task::yield_now().await;
    bus.publish(&buffered(4), 2).await;
    assert_eq!(waiting.await.unwrap(), (Some(Message(1)), Some(Message(2))));
}
