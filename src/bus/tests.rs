//! The bus's promises to publishers and readers. What it keeps is tested beside it, in `local.rs`.

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};

use super::*;
use Delivered::{Message, Missed};

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

#[test]
fn every_reader_gets_the_message_and_the_publisher_their_number() {
    let bus = Bus::new();
    let mut readers = [bus.subscribe(&latest()), bus.clone().subscribe(&latest())];
    assert_eq!((bus.publish(&latest(), 7), bus.readers(&latest())), (2, 2));
    for reader in &mut readers {
        assert_eq!(waiting(reader), [Message(7)]);
    }
}

#[test]
fn a_slow_reader_of_the_latest_sees_only_the_newest() {
    let bus = Bus::new();
    let (mut slow, mut fast) = (bus.subscribe(&latest()), bus.subscribe(&latest()));
    for message in 1..=5 {
        bus.publish(&latest(), message);
        assert_eq!(waiting(&mut fast), [Message(message)]);
    }
    assert_eq!(waiting(&mut slow), [Message(5)]);
    assert_eq!(waiting(&mut slow), []);
}

#[test]
fn a_new_reader_of_the_latest_gets_the_last_message_at_once() {
    let bus = Bus::new();
    let _first = bus.subscribe(&latest());
    bus.publish(&latest(), 1);
    bus.publish(&latest(), 2);
    let mut second = bus.subscribe(&latest());
    assert_eq!(waiting(&mut second), [Message(2)]);
    bus.publish(&latest(), 3);
    assert_eq!(waiting(&mut second), [Message(3)]);
}

#[test]
fn nothing_is_remembered_that_nobody_read() {
    let bus = Bus::new();
    assert_eq!(bus.publish(&latest(), 1), 0);
    let mut reader = bus.subscribe(&latest());
    assert_eq!(waiting(&mut reader), []);
    bus.publish(&latest(), 2);
    drop(reader);
    assert_eq!(bus.readers(&latest()), 0);
    assert_eq!(waiting(&mut bus.subscribe(&latest())), []);
}

#[test]
fn a_buffer_delivers_all_in_order_from_subscribing_on() {
    let bus = Bus::new();
    let mut early = bus.subscribe(&buffered(8));
    bus.publish(&buffered(8), 1);
    let mut late = bus.subscribe(&buffered(8));
    bus.publish(&buffered(8), 2);
    bus.publish(&buffered(8), 3);
    assert_eq!(waiting(&mut early), [Message(1), Message(2), Message(3)]);
    assert_eq!(waiting(&mut late), [Message(2), Message(3)]);
}

#[test]
fn a_reader_that_lags_is_told_how_much_it_missed() {
    let bus = Bus::new();
    let (mut slow, mut fast) = (bus.subscribe(&buffered(4)), bus.subscribe(&buffered(4)));
    for message in 1..=10 {
        bus.publish(&buffered(4), message);
        assert_eq!(waiting(&mut fast), [Message(message)]);
    }
    assert_eq!(waiting(&mut slow), [Missed(6), Message(7), Message(8), Message(9), Message(10)]);
    bus.publish(&buffered(4), 11);
    assert_eq!(waiting(&mut slow), [Message(11)]);
}

#[test]
fn the_size_of_a_buffer_is_kept_within_bounds() {
    for capacity in [0, usize::MAX] {
        let bus = Bus::new();
        let mut reader = bus.subscribe(&buffered(capacity));
        bus.publish(&buffered(capacity), 1);
        assert_eq!(waiting(&mut reader), [Message(1)], "{capacity}");
    }
}

#[test]
fn topics_do_not_mix_even_under_one_name() {
    let bus = Bus::new();
    let words: Topic<Arc<str>> = Topic::new(latest().name(), Delivery::Latest);
    let (mut numbers, mut texts) = (bus.subscribe(&latest()), bus.subscribe(&words));
    let mut queued = bus.subscribe(&Topic::new(latest().name(), Delivery::Buffer(4)));
    assert_eq!(bus.publish(&latest(), 1), 1);
    assert_eq!(bus.publish(&words, "one".into()), 1);
    assert_eq!(waiting(&mut numbers), [Message(1)]);
    assert_eq!(waiting(&mut texts), [Message("one".into())]);
    assert_eq!(waiting::<u32>(&mut queued), []);
}

#[test]
fn one_reader_leaving_does_not_disturb_the_others() {
    let bus = Bus::new();
    let (leaving, mut staying) = (bus.subscribe(&buffered(4)), bus.subscribe(&buffered(4)));
    bus.publish(&buffered(4), 1);
    drop(leaving);
    assert_eq!(bus.publish(&buffered(4), 2), 1);
    assert_eq!(waiting(&mut staying), [Message(1), Message(2)]);
}

#[test]
fn subscriptions_end_with_the_last_handle_of_the_bus() {
    let bus = Bus::new();
    let mut reader = bus.subscribe(&buffered(4));
    let mut newest = bus.subscribe(&latest());
    let handle = bus.clone();
    drop(bus);
    handle.publish(&buffered(4), 1);
    drop(handle);
    assert_eq!(reader.next().now_or_never(), Some(Some(Message(1))));
    assert_eq!(reader.next().now_or_never(), Some(None));
    assert_eq!(newest.next().now_or_never(), Some(None));
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let bus = Bus::new();
    let (mut newest, mut queued) = (bus.subscribe(&latest()), bus.subscribe(&buffered(4)));
    let waiting = tokio::spawn(async move { (newest.next().await, queued.next().await) });
    tokio::task::yield_now().await;
    bus.publish(&latest(), 1);
    tokio::task::yield_now().await;
    bus.publish(&buffered(4), 2);
    assert_eq!(waiting.await.unwrap(), (Some(Message(1)), Some(Message(2))));
}
