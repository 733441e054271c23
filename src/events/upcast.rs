//! Events of older forms, brought to the newest as they are read. What is kept stays as it was written.

use std::collections::HashMap;

use serde_json::Value;

/// A step from one form of an event's data to the next, on the JSON itself.
#[derive(Debug, Clone, Copy)]
pub struct Upcaster {
    /// The event type.
    pub event_type: &'static str,
    /// The form that it takes, beginning with 1; it gives the next one.
    pub from: u32,
    /// What it does.
    pub upcast: fn(Value) -> Value,
}

/// All steps of all event types.
#[derive(Debug, Clone, Default)]
pub struct Upcasters(HashMap<&'static str, Vec<Upcaster>>);

impl Upcasters {
    /// Orders the steps.
    ///
    /// # Panics
    /// A type whose steps have a hole or meet twice: a mistake in the code, found at the start.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = Upcaster>) -> Self {
        let mut by_type: HashMap<_, Vec<Upcaster>> = HashMap::new();
        for step in steps {
            by_type.entry(step.event_type).or_default().push(step);
        }
        for (event_type, steps) in &mut by_type {
            steps.sort_by_key(|step| step.from);
            let in_order = steps.iter().zip(1..).all(|(step, from)| step.from == from);
            assert!(in_order, "the upcasters of {event_type} are not numbered 1, 2, 3");
        }
        Self(by_type)
    }

    /// The form in which events of this type are written now.
    #[must_use]
    pub fn newest(&self, event_type: &str) -> u32 {
        let steps = self.0.get(event_type).map_or(0, Vec::len);
        u32::try_from(steps).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The data in its newest form; `None` for a form that is newer than this program.
    #[must_use]
    pub fn upcast(&self, event_type: &str, from: u32, data: Value) -> Option<Value> {
        if from == 0 || from > self.newest(event_type) {
            return None;
        }
        let steps = self.0.get(event_type).map_or(&[][..], Vec::as_slice);
        Some(steps.iter().filter(|step| step.from >= from).fold(data, |data, step| (step.upcast)(data)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn renamed(mut data: Value) -> Value {
        data["score"] = data["points"].take();
        data.as_object_mut().unwrap().remove("points");
        data
    }

    fn scaled(mut data: Value) -> Value {
        data["score"] = json!(data["score"].as_i64().unwrap_or_default() * 10);
        data
    }

    fn steps() -> Upcasters {
        Upcasters::new([
            Upcaster { event_type: "Moved", from: 2, upcast: scaled },
            Upcaster { event_type: "Moved", from: 1, upcast: renamed },
        ])
    }

    /// The golden files: what was once written must be read for ever.
    #[test]
    fn every_form_that_was_ever_written_becomes_the_newest() {
        for (from, kept) in [(1, json!({"points": 4})), (2, json!({"score": 4})), (3, json!({"score": 40}))] {
            assert_eq!(steps().upcast("Moved", from, kept), Some(json!({"score": 40})), "{from}");
        }
        assert_eq!(steps().newest("Moved"), 3);
        assert_eq!(steps().newest("Unchanged"), 1);
        assert_eq!(steps().upcast("Unchanged", 1, json!(1)), Some(json!(1)));
    }

    #[test]
    fn a_form_from_the_future_is_not_guessed_at() {
        assert_eq!(steps().upcast("Moved", 4, json!({})), None);
        assert_eq!(steps().upcast("Unchanged", 2, json!({})), None);
        assert_eq!(steps().upcast("Moved", 0, json!({})), None);
    }

    #[test]
    #[should_panic(expected = "numbered 1, 2, 3")]
    fn a_hole_among_the_steps_is_found_at_the_start() {
        let _ = Upcasters::new([Upcaster { event_type: "Moved", from: 2, upcast: scaled }]);
    }
}
