//! `tidegate audit verify`: whether the audit log is as it was written.

use clap::{Args, Subcommand};

use super::{CommandError, Settings, print};
use crate::{app::Kept, audit::Verdict, model::Clock, store::StoreParts};

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Look at every row and every checkpoint, and name the first bad one.
    Verify {
        #[command(flatten)]
        settings: Settings,
    },
}

pub(super) async fn run(args: AuditArgs) -> Result<(), CommandError> {
    let Action::Verify { settings } = args.action;
    let config = settings.load()?.config;
    let failed = |error: &dyn std::error::Error| CommandError::Failed(error.to_string());
    let kept =
        Kept::open_existing(&config, &StoreParts::alone(Clock::system())).await.map_err(|error| failed(&error))?;
    match kept.audit.verify().await.map_err(|error| failed(&error))? {
        Verdict::Sound { rows, checkpoints } => {
            print(&format!("{rows} rows and {checkpoints} checkpoints are as they were written\n"))
        }
        Verdict::Broken(flaw) => Err(CommandError::Failed(flaw.to_string())),
    }
}
