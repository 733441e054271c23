//! How the agent feels, and how feedback moves that. Pure: the same feedback in the same order gives the same feeling.
//!
//! Feedback from −100 to 100 moves the points by half of it, rounded away from zero, and never beyond −100 and 100. Which
//! points are which emotion is [`Emotion::of`]; docs/agent.md has both as a table.

use serde::{Deserialize, Serialize};

use crate::events::{Aggregate, DomainEvent, EventsError, read};

/// The least and the most points, and the least and the most feedback.
pub(super) const RANGE: std::ops::RangeInclusive<i32> = -100..=100;

/// A feeling, from the worst to the best.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Emotion {
    /// −100 to −75 points.
    Angry,
    /// −74 to −40 points.
    Sad,
    /// −39 to −10 points.
    Uneasy,
    /// −9 to 9 points, and where it begins.
    #[default]
    Calm,
    /// 10 to 39 points.
    Content,
    /// 40 to 74 points.
    Happy,
    /// 75 to 100 points.
    Elated,
}

/// The feeling of one user's agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmotionState {
    /// From −100 to 100.
    pub points: i32,
}

/// What can happen to a feeling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum EmotionEvent {
    /// Feedback came.
    EmotionUpdated(EmotionUpdated),
}

/// Feedback came, and moved the points, and perhaps the emotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmotionUpdated {
    /// The emotion before.
    pub old_emotion: Emotion,
    /// The emotion after.
    pub new_emotion: Emotion,
    /// The points after.
    pub points: i32,
    /// What came.
    pub feedback: i32,
}

impl Emotion {
    /// The emotion of these points.
    #[must_use]
    pub fn of(points: i32) -> Self {
        match points {
            ..=-75 => Self::Angry,
            -74..=-40 => Self::Sad,
            -39..=-10 => Self::Uneasy,
            -9..=9 => Self::Calm,
            10..=39 => Self::Content,
            40..=74 => Self::Happy,
            75.. => Self::Elated,
        }
    }
}

impl EmotionState {
    /// The emotion now.
    #[must_use]
    pub fn emotion(&self) -> Emotion {
        Emotion::of(self.points)
    }

    /// What this feedback does to it.
    #[must_use]
    pub fn feel(&self, feedback: i32) -> EmotionUpdated {
        let half = (feedback.abs() + 1) / 2 * feedback.signum();
        let points = (self.points + half).clamp(*RANGE.start(), *RANGE.end());
        EmotionUpdated { old_emotion: self.emotion(), new_emotion: Emotion::of(points), points, feedback }
    }
}

impl Aggregate for EmotionState {
    type Event = EmotionEvent;
    const TYPE: &'static str = "emotion";
    const SNAPSHOT_VERSION: u32 = 1;

    fn apply(&mut self, event: &EmotionEvent) {
        let EmotionEvent::EmotionUpdated(updated) = event;
        self.points = updated.points;
    }
}

/// The event's particulars.
pub(super) fn updated(event: &DomainEvent) -> Result<EmotionUpdated, EventsError> {
    let EmotionEvent::EmotionUpdated(updated) = read::<EmotionState>(event)?;
    Ok(updated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_of_the_documentation_holds() {
        for (points, emotion) in [
            (-100, Emotion::Angry),
            (-75, Emotion::Angry),
            (-74, Emotion::Sad),
            (-40, Emotion::Sad),
            (-39, Emotion::Uneasy),
            (-10, Emotion::Uneasy),
            (-9, Emotion::Calm),
            (0, Emotion::Calm),
            (9, Emotion::Calm),
            (10, Emotion::Content),
            (39, Emotion::Content),
            (40, Emotion::Happy),
            (74, Emotion::Happy),
            (75, Emotion::Elated),
            (100, Emotion::Elated),
        ] {
            assert_eq!(Emotion::of(points), emotion, "{points}");
        }
        for (points, feedback, after) in [(0, 10, 5), (0, 1, 1), (0, -1, -1), (0, 0, 0), (90, 100, 100), (-3, -99, -53)]
        {
            assert_eq!(EmotionState { points }.feel(feedback).points, after, "{points} and {feedback}");
        }
    }

    proptest! {
        #[test]
        fn points_stay_in_their_range_and_go_the_way_of_the_feedback(points in RANGE, feedback in RANGE) {
            let state = EmotionState { points };
            let updated = state.feel(feedback);
            prop_assert!(RANGE.contains(&updated.points));
            let moved = updated.points - points;
            prop_assert!(moved.signum() == feedback.signum() || moved == 0);
            prop_assert!(moved != 0 || feedback == 0 || points == 100 * feedback.signum());
            prop_assert_eq!((updated.old_emotion, updated.feedback), (state.emotion(), feedback));
            prop_assert_eq!(updated.new_emotion, Emotion::of(updated.points));
        }

        #[test]
        fn more_feedback_never_feels_worse(points in RANGE, one in RANGE, other in RANGE) {
            let state = EmotionState { points };
            let (less, more) = (one.min(other), one.max(other));
            prop_assert!(state.feel(less).points <= state.feel(more).points);
            prop_assert!(state.feel(less).new_emotion <= state.feel(more).new_emotion);
        }

        #[test]
        fn the_state_is_what_its_events_say(feedback in proptest::collection::vec(RANGE, 0..50)) {
            let (mut state, mut replayed) = (EmotionState::default(), EmotionState::default());
            for feedback in feedback {
                let event = EmotionEvent::EmotionUpdated(state.feel(feedback));
                state.apply(&event);
                let written = serde_json::to_string(&event).unwrap();
                replayed.apply(&serde_json::from_str(&written).unwrap());
            }
            prop_assert_eq!(state, replayed);
        }
    }
}
