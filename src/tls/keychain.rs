//! Everything that was made from certificate files, so that it can be made again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Connector, Server, TlsError};
use crate::{config::ServerTls, fleet::UpstreamTls};

/// The servers and connectors of a process. Fleets with the same settings share a connector.
#[derive(Debug, Default)]
pub struct Keychain {
    servers: Mutex<Vec<Arc<Server>>>,
    connectors: Mutex<HashMap<Arc<UpstreamTls>, Weak<Connector>>>,
}

/// Which files are read again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Those of servers and connectors of which a file looks different.
    Changed,
    /// All.
    All,
}

/// What reading files again came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refreshed {
    /// What the files are for: a key of the configuration, or a fleet's settings.
    pub place: String,
    /// On an error everything stays as it was.
    pub outcome: Result<(), TlsError>,
}

impl Keychain {
    /// Makes a server from its files and keeps it. `place` names the configuration's table, `protocols` are those of ALPN.
    ///
    /// # Errors
    /// When a file cannot be used; a port that cannot shake hands must not be opened.
    pub fn server(
        &self,
        place: &'static str,
        spec: &ServerTls,
        protocols: &'static [&'static str],
    ) -> Result<Arc<Server>, TlsError> {
        let server = Arc::new(Server::load(place, spec.clone(), protocols)?);
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&server));
        Ok(server)
    }

    /// The connector of these settings, made at the first call and kept for as long as anybody holds it. May read files.
    pub fn connector(&self, spec: &Arc<UpstreamTls>) -> Arc<Connector> {
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = connectors.get(spec).and_then(Weak::upgrade) {
            return known;
        }
        connectors.retain(|_, connector| connector.strong_count() > 0);
        let connector = Arc::new(Connector::new(Arc::clone(spec)));
        connectors.insert(Arc::clone(spec), Arc::downgrade(&connector));
        connector
    }

    /// Reads files again. Blocks on them.
    pub fn refresh(&self, which: Which) -> Vec<Refreshed> {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let connectors: Vec<_> = connectors.values().filter_map(Weak::upgrade).collect();
        let mut refreshed = Vec::new();
        for server in servers {
            if server.stamp.has_changed() || which == Which::All {
                refreshed.push(Refreshed { place: server.place.to_owned(), outcome: server.reload() });
            }
        }
        for connector in connectors {
            if connector.stamp.has_changed() || which == Which::All {
                refreshed.push(Refreshed { place: describe(&connector.spec), outcome: connector.reload() });
            }
        }
        refreshed
    }
}

impl Refreshed {
    /// A sentence for a log, an event and an answer.
    pub fn sentence(&self) -> String {
        let Self { place, outcome } = self;
        match outcome {
            Ok(()) => format!("the certificates of {place} were read again"),
            Err(error) => format!("the certificates of {place} stay as they were: {error}"),
        }
    }
}

fn describe(spec: &UpstreamTls) -> String {
    let UpstreamTls { ca, server_name, identity } = spec;
    let mut text = "a fleet's tls".to_owned();
    if let Some(ca) = ca {
        text.push_str(&format!(", ca {}", ca.display()));
    }
    if let Some(server_name) = server_name {
        text.push_str(&format!(", server_name {server_name}"));
    }
    if let Some(identity) = identity {
        text.push_str(&format!(", cert {}", identity.cert.display()));
    }
    text
}
