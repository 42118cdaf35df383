//! The demo's model servers: two instances of each version, on free ports of the loopback.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread::JoinHandle,
};

use tokio::{sync::watch, task::JoinSet};

use super::{model::ModelVersion, server::model_server};

/// Enough for the balancer to have a choice.
const INSTANCES: usize = 2;

const VERSIONS: [ModelVersion; 3] = [ModelVersion::V1, ModelVersion::V2, ModelVersion::V3];

/// Running model servers.
#[derive(Debug)]
pub(super) struct Fleets {
    addresses: [[SocketAddr; INSTANCES]; VERSIONS.len()],
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Fleets {
    /// Binds all ports, then serves on one thread: pacing makes the servers idle most of the time.
    pub(super) fn start() -> io::Result<Self> {
        let mut addresses = [[SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); INSTANCES]; VERSIONS.len()];
        let mut servers = Vec::new();
        for (version, addresses) in VERSIONS.into_iter().zip(&mut addresses) {
            for address in addresses {
                let listener = TcpListener::bind(*address)?;
                listener.set_nonblocking(true)?;
                *address = listener.local_addr()?;
                servers.push((version, listener));
            }
        }
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = {
            let _inside = runtime.enter();
            let adopt = |(version, listener)| Ok((version, tokio::net::TcpListener::from_std(listener)?));
            servers.into_iter().map(adopt).collect::<io::Result<Vec<_>>>()?
        };
        let thread = std::thread::Builder::new().name("demo-models".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut servers = JoinSet::new();
                for (version, listener) in listeners {
                    let mut stopped = stopped.clone();
                    let stopped = async move {
                        // A lost sender also means the end.
                        stopped.wait_for(|stop| *stop).await.ok();
                    };
                    servers.spawn(model_server(version, listener, stopped));
                }
                servers.join_all().await;
            });
        })?;
        Ok(Self { addresses, stop, thread })
    }

    /// Where a version's instances listen.
    pub(super) fn addresses(&self, version: ModelVersion) -> &[SocketAddr] {
        match version {
            ModelVersion::V1 => &self.addresses[0],
            ModelVersion::V2 => &self.addresses[1],
            ModelVersion::V3 => &self.addresses[2],
        }
    }

    /// Lets running answers finish. Blocks.
    pub(super) fn stop(self) {
        self.stop.send_replace(true);
        self.thread.join().expect("the model servers' thread does not panic");
    }
}
