//! Where Redis is, and how to get in.

use std::{fs, path::Path, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    TlsCertificates, aio::MultiplexedConnection, io::tcp::TcpSettings,
};

use super::{RedisError, RedisOpenError};
use crate::config::RedisConfig;

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// Everything that connecting takes. Holds the password; never printed.
pub(super) struct Target {
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
    seeds: Vec<Address>,
    cluster: bool,
    connect_timeout: Duration,
}

/// No answer is waited for longer than this, whatever the lane says.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

impl Target {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, RedisOpenError> {
        let unusable = |error: redis::RedisError| RedisOpenError::Address(error.category().to_owned());
        let url = config.url.as_ref().ok_or_else(|| RedisOpenError::Address("it is not set".to_owned()))?;
        let info = url.expose().into_connection_info().map_err(unusable)?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let first = address_of(info.addr()).ok_or_else(|| RedisOpenError::Address("it has no host".to_owned()))?;
        let seeds: Vec<Address> =
            [first].into_iter().chain(config.cluster_seeds.iter().filter_map(|seed| parse(seed))).collect();
        let certificates = config.tls_ca_file.as_deref().map(read_certificate).transpose()?;
        let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
        Ok(Self { info, certificates, seeds, cluster: config.cluster, connect_timeout })
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// Where to begin, in this order.
    pub(super) fn seeds(&self) -> &[Address] {
        &self.seeds
    }

    /// Connects to the single server.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        self.connect_to(&self.seeds[0], self.connection_config()).await
    }

    /// Connects to one server, single or of the cluster; `config` says what to do with pushes.
    pub(super) async fn connect_to(
        &self,
        address: &Address,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let client = self.client(address)?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        // The client's own timeout does not cover the greeting on every path.
        match tokio::time::timeout(self.connect_timeout * 2, connecting).await {
            Ok(connected) => Ok(connected?),
            Err(_elapsed) => Err(RedisError::TimedOut),
        }
    }

    /// How connections behave; what is pushed is the caller's to add.
    pub(super) fn connection_config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_pipeline_buffer_size(1_024)
    }

    fn client(&self, address: &Address) -> redis::RedisResult<Client> {
        let info = self.info.clone().set_addr(self.addr(address));
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    fn addr(&self, Address { host, port }: &Address) -> ConnectionAddr {
        match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host.clone(), *port),
        }
    }
}

/// The address in a `MOVED` answer or a setting.
pub(super) fn parse(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Address { host: host.to_owned(), port: port.parse().ok()? })
}

fn address_of(addr: &ConnectionAddr) -> Option<Address> {
    match addr {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some(Address { host: host.clone(), port: *port })
        }
        _ => None,
    }
}

fn read_certificate(path: &Path) -> Result<TlsCertificates, RedisOpenError> {
    let root = fs::read(path).map_err(|source| RedisOpenError::Certificate { path: path.to_owned(), source })?;
    Ok(TlsCertificates { client_tls: None, root_cert: Some(root) })
}
