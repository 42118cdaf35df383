//! Everything that the story plays on: model servers, the proxy, clients, and a directory for the journal and the plans.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{clients::Clients, fleets::Fleets, model::ModelVersion, plans};
use crate::{
    app::{self, Running},
    cli::args::DemoArgs,
    config::{self, Problems},
};

/// Set up and running.
#[derive(Debug)]
pub(super) struct Stage {
    clients: Clients,
    proxy: Running,
    fleets: Fleets,
    directory: Directory,
    /// The plan that brings v2.
    pub(super) good_release: String,
    /// The plan that brings v3.
    pub(super) bad_release: String,
}

/// Why there is no stage. What had been started ends with the process.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    #[error("cannot start the model servers: {0}")]
    Fleets(#[source] io::Error),
    #[error("cannot make the demo's directory {path}: {source}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("the demo's configuration is wrong: {0}")]
    Configuration(#[from] Problems),
    #[error("{0} (in the demo: --data and --admin-listen; without them it takes free ports)")]
    Proxy(#[from] app::StartError),
    #[error("cannot start the clients: {0}")]
    Clients(#[source] io::Error),
}

impl Stage {
    /// Sets everything up; clients send when this returns.
    pub(super) fn set(args: &DemoArgs) -> Result<Self, StageError> {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let fleets = Fleets::start().map_err(StageError::Fleets)?;
        let good_release = plans::good_release(fleets.addresses(ModelVersion::V2));
        let bad_release = plans::bad_release(fleets.addresses(ModelVersion::V3));
        let directory = Directory::make()?;
        directory.write("v2.toml", &good_release)?;
        directory.write("v3.toml", &bad_release)?;
        let configuration = plans::configuration(
            args.data.unwrap_or(free),
            args.admin_listen.unwrap_or(free),
            &directory.path.join("snapback.db"),
            fleets.addresses(ModelVersion::V1),
        );
        let proxy = app::start(config::parse(&configuration, "demo")?, None)?;
        let data = first_data_address(&proxy);
        let seed = args.seed.unwrap_or_else(rand::random);
        let clients = Clients::start(data, seed).map_err(StageError::Clients)?;
        Ok(Self { clients, proxy, fleets, directory, good_release, bad_release })
    }

    /// What the clients see.
    pub(super) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Where clients connect.
    pub(super) fn data_address(&self) -> SocketAddr {
        first_data_address(&self.proxy)
    }

    /// Where operators connect.
    pub(super) fn admin_address(&self) -> SocketAddr {
        self.proxy.admin_address()
    }

    /// Where the plans are, `v2.toml` and `v3.toml`.
    pub(super) fn directory(&self) -> &Path {
        &self.directory.path
    }

    /// Ends everything, clients first, and removes the directory. Blocks.
    pub(super) fn strike(self) {
        let Self { clients, proxy, fleets, directory, good_release: _, bad_release: _ } = self;
        clients.stop();
        proxy.stop();
        fleets.stop();
        drop(directory);
    }
}

fn first_data_address(proxy: &Running) -> SocketAddr {
    *proxy.data_addresses().first().expect("the demo's configuration has one data address")
}

/// A directory of this process alone, removed with the value.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn make() -> Result<Self, StageError> {
        let path = std::env::temp_dir().join(format!("snapback-demo-{}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(StageError::Directory { path, source }),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), StageError> {
        let path = self.path.join(name);
        std::fs::write(&path, text).map_err(|source| StageError::Directory { path, source })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("snapback: cannot remove {}: {error}", self.path.display());
        }
    }
}
