//! The reverse proxy that the other peers' configurations describe, made of Pingora: two weighted upstreams, connections kept on both
//! sides.
//!
//!     pingora-peer PORT BLUE GREEN THREADS h1|h2c

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use pingora::{
    apps::HttpServerOptions,
    lb::{Backend, Backends, LoadBalancer, discovery::Static, selection::RoundRobin},
    prelude::*,
    server::configuration::ServerConf,
};

struct Split {
    fleets: Arc<LoadBalancer<RoundRobin>>,
    is_h2c: bool,
}

#[async_trait]
impl ProxyHttp for Split {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let upstream = self.fleets.select(b"", 2).ok_or_else(|| Error::new(InternalError))?;
        let mut peer = HttpPeer::new(upstream, false, String::new());
        if self.is_h2c {
            peer.options.set_http_version(2, 2);
        }
        Ok(Box::new(peer))
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, blue, green, threads, protocol] = &arguments[..] else {
        eprintln!("usage: pingora-peer PORT BLUE GREEN THREADS h1|h2c");
        std::process::exit(2);
    };
    let is_h2c = protocol == "h2c";
    let threads = threads.parse().expect("THREADS is a number");
    let conf = ServerConf { threads, upstream_keepalive_pool_size: 256, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let backends: Result<BTreeSet<_>> = [(blue, 9), (green, 1)]
        .into_iter()
        .map(|(address, weight)| Backend::new_with_weight(address, weight))
        .collect();
    let discovery = Static::new(backends.expect("BLUE and GREEN are socket addresses"));
    // A service of its own, which reads the list of upstreams when it starts.
    let upstreams =
        background_service("upstreams", LoadBalancer::<RoundRobin>::from_backends(Backends::new(discovery)));
    let split = Split { fleets: upstreams.task(), is_h2c };
    let mut proxy = http_proxy_service(&server.configuration, split);
    if is_h2c {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        proxy.app_logic_mut().expect("the service has its logic").server_options = Some(options);
    }
    proxy.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(proxy);
    server.add_service(upstreams);
    server.run_forever();
}
