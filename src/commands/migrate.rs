//! `tidegate migrate`: brings the tables of the database up to date, and says what it did.

use clap::Args;

use super::{CommandError, Settings, print};
use crate::{
    app::prepare_folder,
    model::Clock,
    store::{DatabaseOpenError, Migrated, Stores},
};

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: MigrateArgs) -> Result<(), CommandError> {
    let config = args.settings.load()?.config.database;
    prepare_folder(&config).map_err(|error| CommandError::Failed(error.to_string()))?;
    let failed = |error: DatabaseOpenError| CommandError::Failed(error.to_string());
    let stores = Stores::new(&config, &Clock::system()).map_err(failed)?;
    for Migrated { store, from, to } in stores.migrate(true).await.map_err(failed)? {
        let outcome =
            if from == to { format!("is at version {to}") } else { format!("went from version {from} to {to}") };
        print(&format!("{store} {outcome}\n"))?;
    }
    Ok(())
}
