//! `tidegate token`: a token for development, alone on standard output so that a script can use it.

use std::time::Duration;

use clap::{Args, builder::RangedU64ValueParser};

use super::{CommandError, Settings, print};
use crate::{
    auth::dev,
    model::{Clock, Role},
};

/// A development token that outlives a year was meant to be something else.
const LONGEST_LIFETIME_SECONDS: u64 = 366 * 24 * 3_600;

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    settings: Settings,

    /// Who the token speaks for, 1 to 256 characters.
    #[arg(long, value_parser = subject)]
    subject: String,

    /// What the token allows: USER or ADMIN.
    #[arg(long, default_value = "USER")]
    role: Role,

    /// For how many seconds the token counts.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600,
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=LONGEST_LIFETIME_SECONDS))]
    lifetime: u64,
}

pub(super) fn run(args: TokenArgs) -> Result<(), CommandError> {
    let config = args.settings.load()?.config.auth;
    if config.jwks_url.is_some() {
        let reason = "auth.jwks_url is set: only the issuer behind it can make tokens that count here";
        return Err(CommandError::Usage(reason.to_owned()));
    }
    let lifetime = Duration::from_secs(args.lifetime);
    let token = dev::mint(&config, &args.subject, args.role, lifetime, Clock::system().now());
    print(&format!("{token}\n"))
}

fn subject(text: &str) -> Result<String, String> {
    if (1..=256).contains(&text.chars().count()) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 256 characters".into())
    }
}
