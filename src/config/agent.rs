//! `[agent]`: what an agent feels and remembers.

use confique::Config;

use super::Problem;

/// What an agent keeps for each subject.
#[derive(Debug, Clone, Config)]
pub struct AgentConfig {
    /// Most memories of one subject, 1 to 1000000. Whoever has as many must forget some first.
    #[config(env = "TIDEGATE_AGENT_MAX_MEMORIES", default = 10_000)]
    pub max_memories: u64,
}

impl AgentConfig {
    /// The section with every setting at its default.
    #[must_use]
    pub fn defaults() -> Self {
        super::defaults()
    }

    /// The settings that the start refuses.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let good = (1..=1_000_000).contains(&self.max_memories);
        Problem::unless(good, "agent.max_memories", &self.max_memories, "1 to 1000000").into_iter().collect()
    }
}
