//! The wiring, read top to bottom: what is built, from what, in which order. Nothing else builds a service.

use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::Authenticator,
    bus::Bus,
    cache::{Cache, CacheSettings, Tags},
    config::Config,
    graphql::{Gateway, GatewayError, Services},
    http::{self, Front, GraphiqlSettings, MetricsPage, Readiness},
    limits::Limiter,
    market::{Catalogue, PriceParts, Prices, sources},
    model::{Chance, Clock},
    resilience::{Outbound, OutboundError, Upstreams},
};

/// What the server is given from outside, apart from its configuration.
pub struct Parts {
    /// Time.
    pub clock: Clock,
    /// Chance.
    pub chance: Chance,
    /// What `/metrics` shows.
    pub metrics: MetricsPage,
    /// What the GraphiQL page is told.
    pub graphiql: GraphiqlSettings,
}

/// Why the server cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The front door cannot open.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// There is no outbound client.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
}

/// A server, ready to listen.
pub struct App {
    front: Front,
    shutdown: CancellationToken,
    /// What works in the background, and how it is told to end.
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl App {
    /// Builds the server. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A configuration that passed its own checks and still cannot work, such as an unreadable file.
    pub fn build(config: &Config, parts: Parts) -> Result<Self, AppError> {
        let Parts { clock, chance, metrics, graphiql } = parts;
        let (tasks, stop, shutdown) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());

        // How others are called.
        let upstreams = Upstreams::new(clock.clone(), chance.clone(), &config.resilience);
        let outbound = Outbound::new(&config.resilience.outbound, clock.clone())?;

        // What is remembered, passed on and counted.
        let tags = Tags::new();
        let prices_kept = Cache::new("prices", (&config.cache).into(), &tags, clock.clone(), chance.clone());
        let answers = CacheSettings::exact(config.graphql.response_cache_bytes);
        let answers_kept = Cache::new("answers", answers, &tags, clock.clone(), chance.clone());
        let bus = Bus::new();
        let limiter = Limiter::new(clock.clone(), &config.limits);

        // Who is asking.
        let authenticator = Authenticator::new(&config.auth, clock.clone(), &upstreams, outbound.clone());

        // What there is to ask for.
        let prices = Prices::new(
            PriceParts {
                sources: sources::build(&config.market, &upstreams, &outbound, &clock),
                catalogue: Catalogue::embedded(),
                cache: prices_kept,
                tags,
                bus,
                clock: clock.clone(),
                tasks: tasks.clone(),
                stop: stop.clone(),
            },
            &config.market,
        );

        // Where it is asked.
        let services = Services { prices, upstreams, clock: clock.clone(), max_coins: config.graphql.max_coins };
        let gateway = Gateway::new(&config.graphql, &config.limits, services, limiter, answers_kept)?;
        let front = Front {
            gateway,
            authenticator,
            config: config.http.clone(),
            metrics,
            readiness: Readiness::new(),
            graphiql,
            clock,
            shutdown: shutdown.clone(),
        };
        Ok(Self { front, shutdown, tasks, stop })
    }

    /// Told to shut down by cancelling this.
    #[must_use]
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Serves until told to shut down, drains, and ends what works in the background.
    pub async fn serve(self, listener: TcpListener) {
        let config = self.front.config.clone();
        http::serve(listener, http::router(self.front), &config, self.shutdown).await;
        // Only now: what was still being answered may have needed it.
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
