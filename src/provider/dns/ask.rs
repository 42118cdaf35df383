//! One question: which addresses a name has, of both kinds, and for how long.

use std::{net::IpAddr, time::Duration};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};

use crate::fleet::{Address, DnsSpec, Member};

/// As many instances as a fleet may name. An answer of more is none that a fleet is meant by.
const MAX_ADDRESSES: usize = 1024;

/// All addresses of a name as instances, in their order and at least one, and the shortest time to live of the records that led to them.
/// One kind of address may be absent; one that could not be asked for makes the whole answer a failure, since half of it would look as if
/// the other half had gone.
pub(super) async fn ask(spec: &DnsSpec) -> Result<(Vec<Member>, Duration), String> {
    let failed = |reason: String| format!("{} cannot be resolved: {reason}", spec.name);
    let resolver = resolver(spec).map_err(|error| failed(error.to_string()))?;
    let asked = async {
        let kinds = (
            resolver.lookup(spec.name.as_str(), RecordType::A),
            resolver.lookup(spec.name.as_str(), RecordType::AAAA),
        );
        tokio::join!(kinds.0, kinds.1)
    };
    let Ok((four, six)) = tokio::time::timeout(spec.timeout, asked).await else {
        return Err(failed(format!("no answer within {:?}", spec.timeout)));
    };
    let (mut addresses, mut ttl) = (Vec::new(), u32::MAX);
    for answer in [four, six] {
        match answer {
            Ok(lookup) => {
                for record in lookup.answers() {
                    ttl = ttl.min(record.ttl);
                    addresses.extend(address(&record.data));
                }
            }
            Err(error) if error.is_no_records_found() => {}
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    match addresses.len() {
        0 => Err(format!("{} has no address", spec.name)),
        1..=MAX_ADDRESSES => {
            let members = addresses.into_iter().map(|address| member(address, spec.port)).collect();
            Ok((members, Duration::from_secs(ttl.into())))
        }
        number => Err(format!("{} has {number} addresses, and a fleet at most {MAX_ADDRESSES}", spec.name)),
    }
}

/// Made for each question, so that another `/etc/resolv.conf` counts from the next one on. It remembers nothing: how long an answer
/// holds is for whoever asks to say.
fn resolver(spec: &DnsSpec) -> Result<TokioResolver, NetError> {
    let mut builder = if spec.resolvers.is_empty() {
        Resolver::builder_tokio()?
    } else {
        let server = |address: &std::net::SocketAddr| {
            let at = |connection: ConnectionConfig| {
                let mut connection = connection;
                connection.port = address.port();
                connection
            };
            let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
            NameServerConfig::new(address.ip(), true, connections)
        };
        let servers = spec.resolvers.iter().map(server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        Resolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    // Two tries within the time that the question has.
    options.attempts = 1;
    options.timeout = spec.timeout / 2;
    builder.build()
}

fn address(data: &RData) -> Option<IpAddr> {
    if let RData::A(address) = data {
        return Some(IpAddr::V4(address.0));
    }
    if let RData::AAAA(address) = data {
        return Some(IpAddr::V6(address.0));
    }
    // An alias on the way to them.
    None
}

fn member(address: IpAddr, port: u16) -> Member {
    let at = std::net::SocketAddr::new(address, port).to_string();
    let address =
        Address::parse(&at).expect("an address and a port that is not zero are an instance's address");
    Member { id: at, address }
}
