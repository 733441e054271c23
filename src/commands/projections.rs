//! `tidegate projections rebuild NAME`: makes a view of the log anew, beside the old one, while the server may run.

use clap::{Args, Subcommand};

use super::{CommandError, Settings, print};
use crate::{app::Kept, events::Rebuilt, model::Clock, store::StoreParts};

#[derive(Debug, Args)]
pub(super) struct ProjectionsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build a projection anew from the whole log, and switch to it once it is as far as the old one.
    Rebuild {
        #[command(flatten)]
        settings: Settings,

        /// Which one, such as memories.
        name: String,
    },
}

pub(super) async fn run(args: ProjectionsArgs) -> Result<(), CommandError> {
    let Action::Rebuild { settings, name } = args.action;
    let config = settings.load()?.config;
    let failed = |error: &dyn std::error::Error| CommandError::Failed(error.to_string());
    let parts = StoreParts::alone(Clock::system());
    let kept = Kept::open_existing(&config, &parts).await.map_err(|error| failed(&error))?;
    let rebuilt = kept.projector.rebuild(&name).await.map_err(|error| failed(&error))?;
    let Rebuilt { generation, events } = rebuilt;
    print(&format!("{name} was built anew from {events} events, as generation {generation}\n"))
}
