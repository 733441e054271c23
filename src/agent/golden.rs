//! Every form in which an event of this room was ever written, and what it is read as today.

use serde_json::{Value, json};

use super::{
    EmotionUpdated, UPCASTERS,
    emotion::{Emotion, EmotionEvent},
    memory::MemoryEvent,
};
use crate::events::Upcasters;

/// The event type, the form, and the data as it was written then: a file that is never changed.
const GOLDEN: &[(&str, u32, &str)] = &[
    ("EmotionUpdated", 1, include_str!("../../tests/fixtures/events/EmotionUpdated.1.json")),
    ("MemoryAdded", 1, include_str!("../../tests/fixtures/events/MemoryAdded.1.json")),
    ("MemoryForgotten", 1, include_str!("../../tests/fixtures/events/MemoryForgotten.1.json")),
];

fn newest(event_type: &str, form: u32, written: &str) -> Value {
    let upcasters = Upcasters::new(UPCASTERS.iter().copied());
    let data = upcasters.upcast(event_type, form, serde_json::from_str(written).unwrap());
    json!({ "type": event_type, "data": data.expect("the form is known") })
}

#[test]
fn every_form_that_was_ever_written_is_read() {
    for (event_type, form, written) in GOLDEN {
        let newest = newest(event_type, *form, written);
        if event_type.starts_with("Emotion") {
            let expected =
                EmotionUpdated { old_emotion: Emotion::Calm, new_emotion: Emotion::Content, points: 12, feedback: 24 };
            let read: EmotionEvent = serde_json::from_value(newest).unwrap();
            assert_eq!(read, EmotionEvent::EmotionUpdated(expected), "{event_type} {form}");
        } else {
            let read: MemoryEvent = serde_json::from_value(newest.clone()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), newest, "{event_type} {form}");
        }
    }
}

#[test]
fn every_form_up_to_the_newest_has_its_file() {
    let upcasters = Upcasters::new(UPCASTERS.iter().copied());
    for event_type in ["EmotionUpdated", "MemoryAdded", "MemoryForgotten"] {
        let forms: Vec<u32> =
            GOLDEN.iter().filter(|(name, ..)| *name == event_type).map(|(_, form, _)| *form).collect();
        assert_eq!(forms, (1..=upcasters.newest(event_type)).collect::<Vec<_>>(), "{event_type}");
    }
}
