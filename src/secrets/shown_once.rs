//! A secret on its way to the one person who may see it.

/// A text that is shown once: it cannot be printed, logged, compared or copied, only taken out, which uses it up.
pub struct ShownOnce(String);

impl ShownOnce {
    /// The text. Whoever calls this shows it to its owner and keeps nothing.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl From<String> for ShownOnce {
    fn from(text: String) -> Self {
        Self(text)
    }
}
