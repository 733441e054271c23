//! The wiring, read top to bottom: what is built, from what, in which order. Nothing else builds a service.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    agent::{self, Agent, AgentParts},
    audit::Audit,
    auth::{AuthParts, AuthState, Authenticator},
    bus::Bus,
    cache::{Cache, CacheSettings, Tags},
    chains::{ChainParts, Chains, Sends},
    config::{Config, DatabaseConfig},
    events::{Events, Projector, Upcasters},
    graphql::{Gateway, GatewayError, Services},
    http::{self, Front, GraphiqlSettings, MetricsPage, Part, Readiness},
    limits::Limiter,
    market::{Catalogue, Leadership, PriceParts, Prices, SwapParts, Swaps, Tokens, sources, venues},
    mcp::{self, Mcp, McpParts, Registry, RegistryParts, Runs, RunsParts, ServersFileError},
    model::{Chance, Clock},
    resilience::{Outbound, OutboundError, Upstreams},
    secrets::{KeyError, MasterKey},
    store::{
        DatabaseOpenError, DatabaseState, LinkState, Redis, RedisOpenError, RedisParts, StoreParts, Stores, make_folder,
    },
    vault::{Vault, VaultError},
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
    /// The database cannot be used; that a PostgreSQL is away is no error.
    #[error(transparent)]
    Database(#[from] DatabaseOpenError),
    /// The master key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The master key is another one than before.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The file of MCP servers cannot be used.
    #[error(transparent)]
    ServersFile(#[from] ServersFileError),
    /// Redis cannot be used; that it is away is no error.
    #[error(transparent)]
    Redis(#[from] RedisOpenError),
}

/// A server, ready to listen.
pub struct App {
    front: Front,
    shutdown: CancellationToken,
    /// What works in the background, and how it is told to end.
    tasks: TaskTracker,
    stop: CancellationToken,
    stores: Stores,
}

impl App {
    /// Builds the server.
    ///
    /// # Errors
    /// A configuration that passed its own checks and still cannot work, such as an unreadable file.
    pub async fn build(config: &Config, parts: Parts) -> Result<Self, AppError> {
        let Parts { clock, chance, metrics, graphiql } = parts;
        let (tasks, stop, shutdown) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());

        // How others are called.
        let upstreams = Upstreams::new(clock.clone(), chance.clone(), &config.resilience);
        let outbound = Outbound::new(&config.resilience.outbound, clock.clone())?;

        // What must not be lost.
        let readiness = Readiness::new();
        let background = StoreParts { clock: clock.clone(), tasks: tasks.clone(), stop: stop.clone() };
        let kept = Kept::open(config, &background).await?;
        kept.start(&background, readiness.part("database", true));

        // What nodes share, or what this one keeps to itself.
        let Shared { tags, bus, limiter, leadership } = Shared::open(config, &background, &chance, &readiness)?;

        // Which answers are remembered.
        let answers = CacheSettings::exact(config.graphql.response_cache_bytes);
        let answers_kept = Cache::new("answers", answers, &tags, clock.clone(), chance.clone());

        // Who is asking.
        let auth = kept.auth(config, limiter.clone(), &background).await;
        let authenticator = Authenticator::with_state(&config.auth, clock.clone(), &upstreams, outbound.clone(), &auth);

        // What there is to ask for.
        let reach =
            Reach { config, upstreams: &upstreams, outbound: &outbound, tags: &tags, chance: &chance, background };
        let (prices, chains) = (reach.prices(bus.clone(), leadership), reach.chains());
        let swaps = reach.swaps(&prices, &chains);
        let sends = Sends::new(chains.clone(), kept.events.clone(), kept.audit.clone());
        let mcp = reach.mcp(&kept, bus).await?;

        // Where it is asked.
        let (agent, audit, max_coins) = (kept.agent.clone(), kept.audit.clone(), config.graphql.max_coins);
        let services = Services {
            prices,
            swaps,
            chains,
            sends,
            mcp,
            agent,
            audit,
            auth,
            upstreams,
            tags,
            clock: clock.clone(),
            max_coins,
        };
        let gateway = Gateway::new(&config.graphql, &config.limits, services, limiter, answers_kept)?;
        let front = Front {
            gateway,
            authenticator,
            config: config.http.clone(),
            metrics,
            readiness,
            graphiql,
            clock,
            shutdown: shutdown.clone(),
        };
        Ok(Self { front, shutdown, tasks, stop, stores: kept.stores })
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
        self.stores.close().await;
    }
}

/// What rooms are made of that ask others.
struct Reach<'a> {
    config: &'a Config,
    upstreams: &'a Upstreams,
    outbound: &'a Outbound,
    tags: &'a Tags,
    chance: &'a Chance,
    background: StoreParts,
}

impl Reach<'_> {
    fn prices(&self, bus: Bus, leadership: Leadership) -> Prices {
        let (config, StoreParts { clock, tasks, stop }) = (self.config, self.background.clone());
        let (tags, chance) = (self.tags.clone(), self.chance.clone());
        let parts = PriceParts {
            sources: sources::build(&config.market, self.upstreams, self.outbound, &clock),
            catalogue: Catalogue::embedded(),
            cache: Cache::new("prices", (&config.cache).into(), &tags, clock.clone(), chance),
            tags,
            bus,
            leadership,
            clock,
            tasks,
            stop,
        };
        Prices::new(parts, &config.market)
    }

    async fn mcp(&self, kept: &Kept, bus: Bus) -> Result<Mcp, ServersFileError> {
        let (config, StoreParts { clock, tasks, stop }) = (&self.config.mcp, self.background.clone());
        let servers = config.servers_file.as_deref().map(mcp::read_file).transpose()?.unwrap_or_default();
        let (events, audit, log) = (kept.events.clone(), kept.audit.clone(), kept.stores.log.clone());
        let parts = McpParts {
            registry: Registry::new(RegistryParts { events, audit: audit.clone() }, servers),
            runs: Runs::new(RunsParts { audit, log, clock: clock.clone(), node: "tidegate".to_owned() }),
            upstreams: self.upstreams.clone(),
            outbound: self.outbound.clone(),
            bus,
            tags: self.tags.clone(),
            clock,
            chance: self.chance.clone(),
            tasks,
            stop,
        };
        Ok(Mcp::start(parts, config).await)
    }

    fn swaps(&self, prices: &Prices, chains: &Chains) -> Swaps {
        let (config, StoreParts { clock, tasks, stop }) = (&self.config.market, self.background.clone());
        let venues = venues::build(config, self.upstreams, self.outbound, &clock, chains);
        let parts = SwapParts { venues, tokens: Tokens::embedded(), prices: prices.clone(), clock, tasks, stop };
        Swaps::new(parts, config)
    }

    fn chains(&self) -> Chains {
        let StoreParts { clock, tasks, stop } = self.background.clone();
        let parts = ChainParts {
            upstreams: self.upstreams.clone(),
            outbound: self.outbound.clone(),
            cache: (&self.config.cache).into(),
            tags: self.tags.clone(),
            clock,
            chance: self.chance.clone(),
            tasks,
            stop,
        };
        Chains::new(&self.config.chains, parts)
    }
}

/// What must not be lost, and what is made of it. Commands open it without a server around it.
pub struct Kept {
    /// From which every key is derived that protects it.
    pub master_key: MasterKey,
    /// Where it is kept.
    pub stores: Stores,
    /// What happened.
    pub events: Events,
    /// What was made of that.
    pub projector: Projector,
    /// Who did what.
    pub audit: Audit,
    /// What agents feel and remember.
    pub agent: Agent,
    vault: Vault,
}

impl Kept {
    /// Opens the database. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A database that cannot be used; that a PostgreSQL is away is no error.
    pub async fn open(config: &Config, parts: &StoreParts) -> Result<Self, AppError> {
        let clock = parts.clock.clone();
        let master_key = master_key(&config.database)?;
        let stores = Stores::open(&config.database, parts).await?;
        let retention = TimeDelta::hours(config.database.idempotency_hours.into());
        // Every node reads the log itself, so nothing of it travels on the bus that nodes share.
        let own_bus = Bus::new(clock.clone(), Chance::from_entropy());
        let upcasters = Upcasters::new(agent::UPCASTERS.iter().chain(mcp::UPCASTERS).copied());
        let events = Events::new(stores.log.clone(), upcasters, own_bus, clock.clone(), retention);
        let vault = Vault::new(stores.vault.clone(), &master_key, clock);
        let projections = agent::projections(&vault).into_iter().chain(mcp::projections()).collect();
        let projector = Projector::new(events.clone(), stores.index.clone(), projections);
        let audit = Audit::new(events.clone(), stores.log.clone(), &master_key, &config.audit);
        let parts = AgentParts {
            events: events.clone(),
            audit: audit.clone(),
            projector: projector.clone(),
            index: stores.index.clone(),
            vault: vault.clone(),
        };
        let agent = Agent::new(parts, &config.agent);
        if *stores.state().borrow() == DatabaseState::Up {
            vault.check_master_key().await?;
        }
        Ok(Self { master_key, stores, events, projector, audit, agent, vault })
    }

    /// What is kept of who may do what, as far as it can be read now. `limiter` counts attempts.
    async fn auth(&self, config: &Config, limiter: Limiter, parts: &StoreParts) -> AuthState {
        let (events, audit, log) = (self.events.clone(), self.audit.clone(), self.stores.log.clone());
        let (master_key, clock) = (&self.master_key, parts.clock.clone());
        let auth = AuthState::new(&config.auth, AuthParts { events, audit, log, master_key, limiter, clock });
        auth.start(&parts.tasks, &parts.stop).await;
        auth
    }

    /// Opens a database that is there already: for commands, which would otherwise make an empty one in a wrong place.
    ///
    /// # Errors
    /// A folder without a log, or a database that cannot be used.
    pub async fn open_existing(config: &Config, parts: &StoreParts) -> Result<Self, AppError> {
        let path = config.database.folder.join("tidegate.db");
        if config.database.url.is_none()
            && let Err(source) = std::fs::metadata(&path)
        {
            return Err(DatabaseOpenError::Folder { path, source }.into());
        }
        Self::open(config, parts).await
    }

    /// Starts what works in the background, and tells `part` how the database is.
    fn start(&self, parts: &StoreParts, part: Part) {
        let StoreParts { tasks, stop, .. } = parts;
        let watched = report_database(self.stores.clone(), self.vault.clone(), part);
        tasks.spawn(stop.clone().run_until_cancelled_owned(watched));
        self.events.start(tasks, stop);
        self.projector.start(tasks, stop);
        self.audit.start(tasks, stop);
    }
}

/// Makes the key of a folder that has no database yet: whoever finds databases without a key takes it for lost.
///
/// # Errors
/// A folder that cannot be made or written.
pub fn prepare_folder(config: &DatabaseConfig) -> Result<(), AppError> {
    let is_new = config.url.is_none() && !config.folder.join("tidegate.db").exists();
    if is_new { master_key(config).map(drop) } else { Ok(()) }
}

/// The configured key, or the one of the folder, which is made before anything that it protects.
fn master_key(config: &DatabaseConfig) -> Result<MasterKey, AppError> {
    if let Some(key) = &config.master_key {
        return Ok(key.expose().parse()?);
    }
    let path = || config.folder.clone();
    make_folder(&config.folder).map_err(|source| DatabaseOpenError::Folder { path: path(), source })?;
    let file = config.folder.join("tidegate.key");
    // What is there was sealed with a key that was there: a new one would lose it without a word.
    let was_here = ["tidegate.db", "vault.db"].iter().any(|name| config.folder.join(name).exists());
    Ok(if was_here { MasterKey::load(&file) } else { MasterKey::load_or_create(&file) }?)
}

/// What nodes share: through Redis where there is one, within this process where there is none.
struct Shared {
    tags: Tags,
    bus: Bus,
    limiter: Limiter,
    leadership: Leadership,
}

impl Shared {
    fn open(
        config: &Config,
        background: &StoreParts,
        chance: &Chance,
        readiness: &Readiness,
    ) -> Result<Self, AppError> {
        let StoreParts { clock, tasks, stop } = background.clone();
        let chance = chance.clone();
        if config.redis.url.is_none() {
            tracing::info!("no redis.url: this node shares nothing with others");
            return Ok(Self {
                tags: Tags::new(),
                bus: Bus::new(clock.clone(), chance),
                limiter: Limiter::new(clock, &config.limits),
                leadership: Leadership::Alone,
            });
        }
        let parts =
            RedisParts { clock: clock.clone(), chance: chance.clone(), tasks: tasks.clone(), stop: stop.clone() };
        let redis = Redis::open(&config.redis, &parts)?;
        tracing::info!(node = %redis.node(), cluster = redis.is_cluster(), "this node shares through Redis");
        tasks.spawn(stop.clone().run_until_cancelled_owned(report(redis.clone(), readiness.part("redis", false))));
        Ok(Self {
            tags: Tags::shared_by(&redis, &config.cache, &parts),
            limiter: Limiter::shared(clock.clone(), &config.limits, redis.clone()),
            leadership: Leadership::shared(&redis),
            bus: Bus::shared(redis, clock, chance, tasks, stop),
        })
    }
}

/// Tells `/ready` about the database. Without it nothing can be changed, so the server is not ready.
async fn report_database(stores: Stores, vault: Vault, part: Part) {
    let mut state = stores.state();
    loop {
        let found = state.borrow_and_update().clone();
        match found {
            // It may be another database than before.
            DatabaseState::Up => match vault.check_master_key().await {
                Ok(()) => part.ready(),
                Err(error) => part.not_ready(&error.to_string()),
            },
            DatabaseState::Down(error) => part.not_ready(&error.to_string()),
        }
        // The vault may have failed between two looks at the database.
        let waiting = tokio::time::timeout(Duration::from_secs(1), state.changed());
        if let Ok(Err(_closed)) = waiting.await {
            return;
        }
    }
}

/// Tells `/ready` about Redis. The server is ready without it: every room has a way of its own to go on.
async fn report(redis: Redis, part: Part) {
    let mut link = redis.link();
    loop {
        match *link.borrow_and_update() {
            LinkState::Up => part.ready(),
            LinkState::Down => part.not_ready(&redis.trouble()),
        }
        // A link that is down may be so for another reason by now.
        let waiting = tokio::time::timeout(Duration::from_secs(1), link.changed());
        if let Ok(Err(_closed)) = waiting.await {
            return;
        }
    }
}
