//! How a test server is put together. The only place of the harness that knows `app.rs`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tempfile::TempDir;
use tidegate::{
    app::{App, Parts},
    config::{Config, Secret},
    http::{DevelopmentToken, GraphiqlSettings, MetricsPage},
    model::{Chance, Clock},
    sandbox::{StandIns, Vendor},
    telemetry,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::watchdog::scratch;

/// Nodes are told apart by chance.
static NEXT_SEED: AtomicU64 = AtomicU64::new(1);

/// The defaults, as the sandbox changes them, with limits out of the way of tests that do not look at them.
pub(crate) fn config() -> Config {
    let mut config = Config::defaults();
    config.http.listen = "127.0.0.1:0".parse().expect("an address");
    config.http.graphiql = true;
    config.graphql.introspection = true;
    config.resilience.outbound.allow_private_addresses = true;
    // Stands for a scratch folder of the server's own.
    config.database.folder = PathBuf::new();
    "off".clone_into(&mut config.telemetry.log_filter);
    config
}

/// What runs, and how to reach and end it.
pub(crate) struct Booted {
    pub(crate) address: SocketAddr,
    pub(crate) stand_ins: StandIns,
    pub(crate) shutdown: CancellationToken,
    /// Ends when the server has drained.
    pub(crate) served: JoinHandle<()>,
    /// Where its files are, unless the test has named a place.
    pub(crate) scratch: Option<TempDir>,
}

/// Starts a server over stand-ins of its own.
pub(crate) async fn boot(mut config: Config) -> Booted {
    let metrics = telemetry::init(&config.telemetry);
    let clock = Clock::system();
    let stand_ins = StandIns::start(clock.clone(), 1).await.expect("loopback has free ports");
    stand_ins.apply(&mut config.market);
    if config.chains.endpoints.is_empty() {
        for node in Vendor::NODES {
            stand_ins.stand_in_for(node, &mut config.chains);
        }
    }
    let listener = TcpListener::bind(config.http.listen).await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound listener has an address");
    let parts = Parts {
        clock,
        chance: Chance::seeded(NEXT_SEED.fetch_add(1, Ordering::Relaxed)),
        metrics: MetricsPage::Prometheus(Arc::new(move || metrics.render())),
        graphiql: GraphiqlSettings {
            tokens: vec![DevelopmentToken { label: "USER alice".into(), token: Secret::from("development-token") }],
            default_query: "{ __typename }".into(),
        },
    };
    let scratch = (config.database.folder == Path::new("")).then(scratch);
    if let Some(scratch) = &scratch {
        scratch.path().clone_into(&mut config.database.folder);
    }
    let app = App::build(&config, parts).await.expect("the configuration works");
    let shutdown = app.shutdown();
    Booted { address, stand_ins, shutdown, served: tokio::spawn(app.serve(listener)), scratch }
}
