//! Look-ups of names that outlive whoever waits for them.

use std::net::SocketAddr;

use tokio::task::JoinHandle;

/// The look-up under way, if any. A name server that does not answer keeps a thread of the resolver busy for longer than anybody waits, so
/// a look-up goes on when its wait is given up, and the next wait is for the same one: never more than one thread is held.
#[derive(Debug, Default)]
pub(super) struct LookUp(Option<JoinHandle<Result<Vec<SocketAddr>, String>>>);

impl LookUp {
    /// Where `host:port` is now; at least one address. Always ask one of the same host.
    pub(super) async fn resolve(&mut self, address: &str) -> Result<Vec<SocketAddr>, String> {
        let address = address.to_owned();
        let look_up = self.0.get_or_insert_with(|| tokio::spawn(look_up(address)));
        let found = look_up.await;
        self.0 = None;
        found.map_err(|error| format!("the look-up of its name failed: {error}"))?
    }
}

async fn look_up(address: String) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host(address).await;
    let addresses: Vec<_> = found.map_err(|error| format!("its name does not resolve: {error}"))?.collect();
    if addresses.is_empty() { Err("its name has no address".to_owned()) } else { Ok(addresses) }
}
