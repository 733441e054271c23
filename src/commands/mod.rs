//! The `tidegate` command: what can be typed, and how it ends.
//!
//! Owns arguments, exit codes and everything printed on standard output. It never does the work: `app` wires the server
//! and `config` reads the settings. A new command is a variant of `Command` and a file named after it.
//! `tests/it/config.rs` holds the printed forms to their promises.

mod audit;
mod config;
mod migrate;
mod projections;
mod sandbox;
mod schema;
mod serve;
mod token;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::config::{ConfigError, Loaded, Sources, load};

/// One GraphQL endpoint in front of MCP servers, crypto market data and blockchains.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve with the configured upstreams.
    Serve(Listening),
    /// Serve with stand-ins for the upstreams, and print tokens and addresses to try: no network, no keys needed.
    Sandbox(sandbox::SandboxArgs),
    /// Bring the tables of the database up to date.
    Migrate(migrate::MigrateArgs),
    /// Look after the record of who did what.
    Audit(audit::AuditArgs),
    /// Look after what is made from the log of events.
    Projections(projections::ProjectionsArgs),
    /// Print the schema.
    Schema,
    /// Print every setting with its value, its source and what it does.
    Config(config::ConfigArgs),
    /// Print a token for development, signed with the configured secret.
    Token(token::TokenArgs),
}

/// Where settings come from.
#[derive(Debug, Args)]
struct Settings {
    /// Configuration file; without it `./tidegate.toml` is read if it exists.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one setting, as in `--set http.graphiql=true`; wins over environment and file.
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,

    /// Folder of the database's files; made if it is missing. Stands for `--set database.folder=DIR`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Settings of a command that listens.
#[derive(Debug, Args)]
struct Listening {
    #[command(flatten)]
    settings: Settings,

    /// Address and port to listen on; port 0 picks a free one and prints it. Stands for `--set http.listen=ADDR`.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// The settings were refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command was asked for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The work itself failed.
    #[error("{0}")]
    Failed(String),
}

/// Runs what the command line says and reports how it ended: 0 well, 1 failed, 2 refused because of its arguments or
/// settings.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version come this way, too. Nothing is left to do when the terminal is gone.
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { 2 } else { 0 });
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                let _ = writeln!(io::stderr(), "error: {line}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Serve(args) => wait_for(serve::run(args)),
        Command::Sandbox(args) => wait_for(sandbox::run(args)),
        Command::Migrate(args) => wait_for(migrate::run(args)),
        Command::Audit(args) => wait_for(audit::run(args)),
        Command::Projections(args) => wait_for(projections::run(args)),
        Command::Schema => schema::run(),
        Command::Config(args) => config::run(args),
        Command::Token(args) => token::run(args),
    }
}

/// Runs an asynchronous command to its end on all cores.
fn wait_for(command: impl Future<Output = Result<(), CommandError>>) -> Result<(), CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| CommandError::Failed(format!("cannot start the runtime: {error}")))?.block_on(command)
}

impl Settings {
    fn sources(self) -> Sources {
        let folder = self.data.map(|folder| ("database.folder".to_owned(), folder.display().to_string()));
        Sources::of_process(self.config, self.set.into_iter().chain(folder).collect())
    }

    fn load(self) -> Result<Loaded, CommandError> {
        Ok(load(self.sources())?)
    }
}

impl Listening {
    fn sources(self) -> Sources {
        let mut sources = self.settings.sources();
        sources.overrides.extend(self.listen.map(|address| ("http.listen".to_owned(), address.to_string())));
        sources
    }
}

impl CommandError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

/// Prints to standard output. A reader that has seen enough, such as `head`, is no error.
fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, as in http.graphiql=true")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_declared_soundly() {
        Cli::command().debug_assert();
    }

    #[test]
    fn listen_wins_over_set() {
        let cli = Cli::try_parse_from(["tidegate", "serve", "--listen", "127.0.0.1:9", "--set", "http.listen=[::]:1"]);
        let Command::Serve(args) = cli.unwrap().command else { panic!("not serve") };
        let keys = args.sources().overrides;
        assert_eq!(keys.last().unwrap(), &("http.listen".to_owned(), "127.0.0.1:9".to_owned()));
    }
}
