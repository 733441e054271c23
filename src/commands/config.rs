//! `tidegate config`: every setting with its value, its source and what it does.

use clap::{Args, ValueEnum};

use super::{CommandError, Settings, print};
use crate::config::{as_markdown, as_text, declared};

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    settings: Settings,

    /// In which form.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Show the defaults only, whatever is set.
    #[arg(long)]
    defaults: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For reading.
    Text,
    /// For programs: a list of objects.
    Json,
    /// As `docs/configuration.md`.
    Markdown,
}

pub(super) fn run(args: ConfigArgs) -> Result<(), CommandError> {
    let listing = if args.defaults { declared() } else { args.settings.load()?.listing };
    print(&match args.format {
        Format::Text => as_text(&listing),
        Format::Markdown => as_markdown(&listing),
        Format::Json => {
            let json = serde_json::to_string_pretty(&listing);
            json.map_err(|error| CommandError::Failed(error.to_string()))? + "\n"
        }
    })
}
