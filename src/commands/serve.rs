//! `tidegate serve`: the server with its configured upstreams.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::{CommandError, Listening, print};
use crate::{
    app::{App, Parts},
    config::{Config, load},
    http::{GraphiqlSettings, MetricsPage},
    model::{Chance, Clock},
    telemetry::{Telemetry, init, log_panics},
};

pub(super) async fn run(args: Listening) -> Result<(), CommandError> {
    let loaded = load(args.sources())?;
    loaded.check_for_serving()?;
    let telemetry = init(&loaded.config.telemetry);
    log_panics();
    let listener = listen(&loaded.config).await?;
    let app = build(&loaded.config, telemetry, GraphiqlSettings::default()).await?;
    announce(&listener)?;
    until_told_to_stop(app, listener).await
}

/// Opens the port, before anything is announced that would need it.
pub(super) async fn listen(config: &Config) -> Result<TcpListener, CommandError> {
    let address = config.http.listen;
    TcpListener::bind(address)
        .await
        .map_err(|error| CommandError::Failed(format!("cannot listen on {address}: {error}")))
}

pub(super) async fn build(
    config: &Config,
    telemetry: Telemetry,
    graphiql: GraphiqlSettings,
) -> Result<App, CommandError> {
    let metrics = if config.telemetry.metrics {
        MetricsPage::Prometheus(Arc::new(move || telemetry.render()))
    } else {
        MetricsPage::Off
    };
    let parts = Parts { clock: Clock::system(), chance: Chance::from_entropy(), metrics, graphiql };
    App::build(config, parts).await.map_err(|error| CommandError::Failed(error.to_string()))
}

/// Says where the server listens, in the one line that scripts look for.
pub(super) fn announce(listener: &TcpListener) -> Result<SocketAddr, CommandError> {
    let address = listener
        .local_addr()
        .map_err(|error| CommandError::Failed(format!("cannot tell the address listened on: {error}")))?;
    print(&format!("listening on http://{address}\n"))?;
    Ok(address)
}

/// Serves until SIGINT or SIGTERM. A second signal does not wait for the drain.
pub(super) async fn until_told_to_stop(app: App, listener: TcpListener) -> Result<(), CommandError> {
    let shutdown = app.shutdown();
    let signals = stop_on_signals(shutdown.clone())?;
    let serving = app.serve(listener);
    tokio::select! {
        () = serving => Ok(()),
        () = signals => Err(CommandError::Failed("stopped before everything was answered".to_owned())),
    }
}

/// Ends at the second signal; the first begins the shutdown.
fn stop_on_signals(shutdown: CancellationToken) -> Result<impl Future<Output = ()>, CommandError> {
    let failed = |error| CommandError::Failed(format!("cannot listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("told to stop");
            shutdown.cancel();
        }
    })
}
