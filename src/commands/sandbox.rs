//! `tidegate sandbox`: the server with stand-ins for its upstreams, and all one needs to try it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use clap::Args;
use tokio::net::TcpListener;

use super::{CommandError, Listening, print, serve};
use crate::{
    auth::dev,
    config::{AuthConfig, ChainsConfig, Config, load},
    http::{DevelopmentToken, GraphiqlSettings},
    model::{Clock, Role},
    resilience::Outbound,
    sandbox::{GivenError, StandIns, Vendor, take_given, write_documents, write_servers},
    telemetry::{init, log_panics},
};

/// A day's worth of trying things out.
const TOKEN_LIFETIME: Duration = Duration::from_hours(24);
/// The same walk of prices at every start; they move with time all the same.
const SEED: u64 = 1;

#[derive(Debug, Args)]
pub(super) struct SandboxArgs {
    #[command(flatten)]
    listening: Listening,

    /// Ask this node, such as anvil, instead of the stand-in for Ethereum. The node says which EVM chain it is of.
    #[arg(long, value_name = "URL")]
    evm_rpc: Option<String>,

    /// Ask this node instead of the stand-in for Solana. It says which of Solana's networks it is of.
    #[arg(long, value_name = "URL")]
    solana_rpc: Option<String>,
}

pub(super) async fn run(args: SandboxArgs) -> Result<(), CommandError> {
    let SandboxArgs { listening, evm_rpc, solana_rpc } = args;
    let mut sources = listening.sources();
    for (key, value) in [
        ("http.graphiql", "true"),
        ("graphql.introspection", "true"),
        ("telemetry.log_filter", "warn"),
        // The stand-ins live on the loopback interface.
        ("resilience.outbound.allow_private_addresses", "true"),
    ] {
        sources.presets.push((key.to_owned(), value.to_owned()));
    }
    // Ends with the sandbox, and what is in it, too.
    let scratch = tempfile::Builder::new().prefix("tidegate-sandbox-").tempdir();
    let scratch = scratch.map_err(|error| CommandError::Failed(format!("cannot make a scratch folder: {error}")))?;
    sources.presets.push(("database.folder".to_owned(), scratch.path().display().to_string()));
    let mut config = load(sources)?.config;
    let telemetry = init(&config.telemetry);
    log_panics();
    let listener = serve::listen(&config).await?;
    let clock = Clock::system();
    let stand_ins = start_stand_ins(&listener, &clock)
        .await
        .map_err(|error| CommandError::Failed(format!("cannot start the stand-ins: {error}")))?;
    stand_ins.apply(&mut config.market);
    let given = [("--evm-rpc", Vendor::Ethereum, evm_rpc), ("--solana-rpc", Vendor::Solana, solana_rpc)];
    let chains = set_up_chains(&stand_ins, &mut config, given, &clock).await?;
    offer_own_tools(&mut config, &listener, scratch.path())
        .map_err(|error| CommandError::Failed(format!("cannot write to the scratch folder: {error}")))?;
    let tokens = tokens(&config.auth, &clock);
    let graphiql = GraphiqlSettings { tokens: tokens.clone(), ..GraphiqlSettings::default() };
    let app = serve::build(&config, telemetry, graphiql).await?;
    print_tokens(&chains, &tokens, &stand_ins)?;
    if !config.http.listen.ip().is_loopback() {
        print("Everybody who reaches this address can take the ADMIN token above: it is on the GraphiQL page.\n")?;
    }
    let address = serve::announce(&listener)?;
    print(&format!("GraphiQL on http://{address}/graphiql\n"))?;
    serve::until_told_to_stop(app, listener).await
}

/// On the port after the server's, where that is free: 8081 by default, so that instructions can name it.
async fn start_stand_ins(server: &TcpListener, clock: &Clock) -> io::Result<StandIns> {
    let next = server.local_addr()?.port().checked_add(1).unwrap_or(0);
    match TcpListener::bind((Ipv4Addr::LOCALHOST, next)).await {
        Ok(listener) => StandIns::start_on(listener, clock, SEED),
        Err(_) => StandIns::start(clock.clone(), SEED).await,
    }
}

/// Has something to show where nothing is set: documents that are tools, and this server as an MCP server of its own.
fn offer_own_tools(config: &mut Config, listener: &TcpListener, scratch: &Path) -> io::Result<()> {
    if config.graphql.trusted_documents.is_none() {
        config.graphql.trusted_documents = Some(write_documents(scratch)?);
    }
    if config.mcp.servers_file.is_none() {
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
        config.mcp.servers_file = Some(write_servers(scratch, own)?);
    }
    Ok(())
}

/// Finds somebody who answers for each chain: the node that a flag names, or a stand-in where the settings name no node of
/// any chain. Says, for people, who that is.
async fn set_up_chains(
    stand_ins: &StandIns,
    config: &mut Config,
    given: [(&str, Vendor, Option<String>); 2],
    clock: &Clock,
) -> Result<Vec<String>, CommandError> {
    let outbound = Outbound::new(&config.resilience.outbound, clock.clone());
    let outbound = outbound.map_err(|error| CommandError::Failed(error.to_string()))?;
    let chains: &mut ChainsConfig = &mut config.chains;
    let nobody_is_set = chains.endpoints.is_empty();
    let mut said = Vec::new();
    for (flag, vendor, url) in given {
        match url {
            Some(url) => match take_given(vendor, &url, &outbound, chains).await {
                Ok(chain) => said.push(format!("{chain} is what the node of {flag} says.\n")),
                Err(error @ GivenError::NoUrl) => return Err(CommandError::Usage(format!("{flag}: {error}"))),
                Err(error) => return Err(CommandError::Failed(format!("{flag}: {error}"))),
            },
            None if nobody_is_set => {
                stand_ins.stand_in_for(vendor, chains);
                said.push(format!("{} is simulated.\n", vendor.path()));
            }
            None => {}
        }
    }
    Ok(said)
}

/// None where only an issuer elsewhere can make tokens.
fn tokens(config: &AuthConfig, clock: &Clock) -> Vec<DevelopmentToken> {
    if config.jwks_url.is_some() {
        return Vec::new();
    }
    [("USER alice", "alice", Role::User), ("ADMIN admin", "admin", Role::Admin)]
        .map(|(label, subject, role)| DevelopmentToken {
            label: label.to_owned(),
            token: dev::mint(config, subject, role, TOKEN_LIFETIME, clock.now()).into(),
        })
        .into()
}

fn print_tokens(chains: &[String], tokens: &[DevelopmentToken], stand_ins: &StandIns) -> Result<(), CommandError> {
    let lines = tokens.iter().map(|DevelopmentToken { label, token }| format!("{label}\n  {}\n", token.expose()));
    let (lines, chains): (String, String) = (lines.collect(), chains.concat());
    let stand_ins = stand_ins.address();
    print(&format!(
        "The sandbox: prices are simulated.\n{chains}\n{lines}\n\
         stand-ins on http://{stand_ins} (POST /faults/coingecko breaks one)\n"
    ))
}
