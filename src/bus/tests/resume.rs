//! What a topic with history promises to readers that come back.

use std::time::Duration;

use chrono::DateTime;

use super::*;

const KEEP_FOR: Duration = Duration::from_mins(2);

fn remembering(messages: usize) -> Topic<u32> {
    buffered(64).remembering(History { messages, keep_for: KEEP_FOR })
}

fn newest() -> Topic<u32> {
    latest().remembering(History { messages: 8, keep_for: KEEP_FOR })
}

fn stepped() -> Bus {
    Bus::new(Clock::stepped_from(DateTime::UNIX_EPOCH), Chance::seeded(7))
}

async fn publish(bus: &Bus, topic: &Topic<u32>, messages: impl IntoIterator<Item = u32>) {
    for message in messages {
        bus.publish(topic, message).await;
    }
}

/// Messages, whether they were replayed, and the notices between them, without positions.
fn seen(delivered: Vec<Delivered<u32>>) -> Vec<Delivered<u32>> {
    let strip = |delivered| match delivered {
        Delivered::Message { message, replayed, .. } => Delivered::Message { message, position: None, replayed },
        missed @ Missed(_) => missed,
    };
    delivered.into_iter().map(strip).collect()
}

#[expect(non_snake_case, reason = "reads as the variant that it makes")]
fn Replayed(message: u32) -> Delivered<u32> {
    Delivered::Message { message, position: None, replayed: true }
}

/// Where the newest message is that `bus` was told.
async fn publish_one(bus: &Bus, topic: &Topic<u32>, message: u32) -> Position {
    let mut reader = bus.subscribe(topic);
    bus.publish(topic, message).await;
    let heard = waiting(&mut reader);
    match heard.last() {
        Some(Delivered::Message { position: Some(position), .. }) => *position,
        _ => panic!("{heard:?}"),
    }
}

#[tokio::test]
async fn messages_are_numbered_from_one_without_holes() {
    let (bus, topic) = (bus(), remembering(4));
    let mut reader = bus.subscribe(&topic);
    publish(&bus, &topic, 1..=9).await;
    let positions: Vec<Position> = waiting(&mut reader)
        .into_iter()
        .map(|delivered| match delivered {
            Delivered::Message { position: Some(position), replayed: false, .. } => position,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(positions.iter().all(|position| position.epoch == positions[0].epoch && position.epoch > 0));
    assert_eq!(positions.iter().map(|position| position.offset).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_and_then_the_present() {
    for topic in [remembering(8), newest()] {
        let bus = bus();
        let place = publish_one(&bus, &topic, 1).await;
        publish(&bus, &topic, 2..=4).await;
        let mut reader = bus.resume(&topic, place);
        publish(&bus, &topic, [5]).await;
        assert_eq!(seen(waiting(&mut reader)), [Replayed(2), Replayed(3), Replayed(4), Message(5)], "{topic:?}");
        publish(&bus, &topic, [6]).await;
        assert_eq!(seen(waiting(&mut reader)), [Message(6)], "{topic:?}");
    }
}

#[tokio::test]
async fn who_missed_nothing_gets_nothing_twice() {
    for topic in [remembering(8), newest()] {
        let bus = bus();
        let _other = bus.subscribe(&topic);
        let place = publish_one(&bus, &topic, 1).await;
        let mut reader = bus.resume(&topic, place);
        assert_eq!(waiting(&mut reader), [], "{topic:?}");
        publish(&bus, &topic, [2]).await;
        assert_eq!(seen(waiting(&mut reader)), [Message(2)], "{topic:?}");
    }
}

#[tokio::test]
async fn what_is_forgotten_is_told_and_the_rest_is_given() {
    let (bus, topic) = (bus(), remembering(3));
    let place = publish_one(&bus, &topic, 1).await;
    publish(&bus, &topic, 2..=10).await;
    let there = [Replayed(8), Replayed(9), Replayed(10)];
    let all = |gap: Delivered<u32>| [&[gap], &there[..]].concat();
    for (offset, epoch, expected) in [
        (place.offset, place.epoch, all(Missed(Some(6)))),
        (6, place.epoch, all(Missed(Some(1)))),
        (7, place.epoch, there.to_vec()),
        (9, place.epoch, vec![Replayed(10)]),
        (10, place.epoch, vec![]),
        (11, place.epoch, all(Missed(None))),
        (u64::MAX, place.epoch, all(Missed(None))),
        (9, place.epoch ^ 1, all(Missed(None))),
    ] {
        let mut reader = bus.resume(&topic, Position { epoch, offset });
        assert_eq!(seen(waiting(&mut reader)), expected, "{offset} {epoch}");
    }
}

#[tokio::test]
async fn a_topic_without_history_says_that_it_has_none() {
    let bus = bus();
    let mut reader = bus.resume(&buffered(4), Position { epoch: 1, offset: 1 });
    bus.publish(&buffered(4), 1).await;
    assert_eq!(waiting(&mut reader), [Missed(None), Message(1)]);
}

#[tokio::test(start_paused = true)]
async fn history_needs_no_readers_and_ends_in_time_but_numbers_go_on() {
    let (bus, topic) = (stepped(), remembering(8));
    let place = publish_one(&bus, &topic, 1).await;
    publish(&bus, &topic, [2]).await;
    tokio::time::advance(KEEP_FOR).await;
    assert_eq!(seen(waiting(&mut bus.resume(&topic, place))), [Replayed(2)]);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(seen(waiting(&mut bus.resume(&topic, place))), [Missed(Some(1))]);
    let end = Position { offset: 2, ..place };
    let mut reader = bus.resume(&topic, end);
    publish(&bus, &topic, [3]).await;
    assert_eq!(seen(waiting(&mut reader)), [Message(3)], "nothing was missed on a quiet topic");
    assert_eq!(seen(waiting(&mut bus.resume(&topic, end))), [Replayed(3)]);
    tokio::time::advance(Duration::from_hours(2)).await;
    assert_eq!(seen(waiting(&mut bus.resume(&topic, end))), [Missed(None)]);
}

#[tokio::test(start_paused = true)]
async fn a_new_reader_of_the_newest_gets_what_is_remembered_while_it_is() {
    let (bus, topic) = (stepped(), newest());
    publish(&bus, &topic, [1, 2]).await;
    tokio::time::advance(KEEP_FOR).await;
    assert_eq!(seen(waiting(&mut bus.subscribe(&topic))), [Replayed(2)]);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(waiting(&mut bus.subscribe(&topic)), []);
}

#[tokio::test]
async fn a_new_reader_of_a_buffer_is_not_told_of_the_past() {
    let (bus, topic) = (bus(), remembering(8));
    publish(&bus, &topic, [1, 2]).await;
    let mut reader = bus.subscribe(&topic);
    assert_eq!(waiting(&mut reader), []);
    assert!(reader.ready().await);
}

#[tokio::test(start_paused = true)]
async fn the_topic_published_longest_ago_is_forgotten_first() {
    let bus = stepped();
    let topic = |number: usize| {
        Topic::<u32>::new(format!("topic:{number}"), Delivery::Buffer(4))
            .remembering(History { messages: 1, keep_for: KEEP_FOR })
    };
    let mut places = Vec::new();
    for number in 0..4_097 {
        places.push(publish_one(&bus, &topic(number), 1).await);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    for (number, expected) in [(4_096, vec![]), (1, vec![]), (0, vec![Missed(None)])] {
        assert_eq!(waiting(&mut bus.resume(&topic(number), places[number])), expected, "{number}");
    }
}

#[tokio::test]
async fn what_was_dropped_during_a_replay_counts_only_if_it_was_not_replayed() {
    let topic = buffered(4).remembering(History { messages: 8, keep_for: KEEP_FOR });
    let bus = bus();
    let place = publish_one(&bus, &topic, 1).await;
    publish(&bus, &topic, 2..=3).await;
    let mut reader = bus.resume(&topic, place);
    publish(&bus, &topic, 4..=9).await;
    let expected = [Replayed(2), Replayed(3), Missed(Some(2)), Message(6), Message(7), Message(8), Message(9)];
    assert_eq!(seen(waiting(&mut reader)), expected);
}

#[tokio::test]
async fn a_reader_that_lags_is_told_how_much_it_missed() {
    let topic = buffered(4).remembering(History { messages: 8, keep_for: KEEP_FOR });
    let bus = bus();
    publish(&bus, &topic, [0]).await;
    let mut reader = bus.subscribe(&topic);
    for first in [1, 11] {
        publish(&bus, &topic, first..first + 10).await;
        let kept = (first + 6..first + 10).map(Message);
        assert_eq!(seen(waiting(&mut reader)), [Missed(Some(6))].into_iter().chain(kept).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn one_topic_keeps_so_many_bytes() {
    let topic =
        Topic::<Vec<u8>>::new("blobs", Delivery::Buffer(4)).remembering(History { messages: 64, keep_for: KEEP_FOR });
    let bus = bus();
    for _ in 0..10 {
        bus.publish(&topic, vec![0; 1024 * 1024]).await;
    }
    let mut reader = bus.resume(&topic, Position::START);
    let heard = waiting(&mut reader);
    assert_eq!(heard[0], Missed(Some(7)));
    assert_eq!(heard.len(), 1 + 3);
}

#[test]
fn histories_are_bounded() {
    let topic = buffered(1).remembering(History { messages: usize::MAX, keep_for: Duration::MAX });
    assert_eq!(topic.history(), Some(History { messages: 65_536, keep_for: Duration::from_hours(1) }));
    let topic = buffered(1).remembering(History { messages: 0, keep_for: Duration::ZERO });
    assert_eq!(topic.history(), Some(History { messages: 1, keep_for: Duration::from_millis(1) }));
}

/// Each reader that comes back in the middle of the publishing hears every number once and in order.
#[test]
fn whoever_resumes_while_many_publish_gets_each_message_once() {
    let (bus, topic) = (
        bus(),
        Topic::<u32>::new("race", Delivery::Buffer(65_536))
            .remembering(History { messages: 65_536, keep_for: KEEP_FOR }),
    );
    let place = publish_one(&bus, &topic, 0).now_or_never().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                (0..3_000).for_each(|number| {
                    let _ = bus.publish(&topic, number).now_or_never();
                });
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut reader = bus.resume(&topic, place);
                    let heard = waiting(&mut reader);
                    let offsets: Vec<u64> = heard
                        .iter()
                        .map(|delivered| match delivered {
                            Delivered::Message { position: Some(position), .. } => position.offset,
                            other => panic!("{other:?}"),
                        })
                        .collect();
                    assert!(offsets.iter().copied().eq(2..2 + offsets.len() as u64), "{offsets:?}");
                }
            });
        }
    });
    assert_eq!(waiting(&mut bus.resume(&topic, place)).len(), 6_000);
}
