//! Which peers are believed when they say whom they speak for.

use std::{fmt, net::IpAddr, sync::Arc};

use super::Peer;

/// Whether a connection must begin with a PROXY protocol header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyProtocol {
    /// It must not: the header would be a bad request.
    Off,
    /// It must; a connection without it is closed.
    Required,
}

impl ProxyProtocol {
    /// `off` or `required`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Required => "required",
        }
    }
}

/// The peers that are believed; none by default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedProxies(Arc<[TrustedProxy]>);

/// A network, or the processes that connect through a Unix-domain socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrustedProxy {
    /// Addresses that begin with the same bits.
    Network {
        /// The first of them.
        address: IpAddr,
        /// How many bits they share.
        prefix: u8,
    },
    /// `unix`
    Local,
}

/// Why a text is not a trusted proxy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is not a network: write an address and its prefix, such as \"10.0.0.0/8\" or \"fd00::/8\", one address, or \"unix\" \
     for all that connect through a Unix-domain socket"
)]
pub struct TrustedProxyError(String);

impl TrustedProxies {
    /// Believes these.
    pub fn new(proxies: Vec<TrustedProxy>) -> Self {
        Self(proxies.into())
    }

    /// Whether this peer is believed. An IPv4 address that came through an IPv6 socket counts as IPv4.
    pub fn include(&self, peer: &Peer) -> bool {
        self.0.iter().any(|proxy| proxy.includes(peer))
    }
}

impl TrustedProxy {
    /// Checks a text. Bits after the prefix must be zero: `10.1.2.3/8` is a slip of either part.
    pub fn parse(text: &str) -> Result<Self, TrustedProxyError> {
        let error = || TrustedProxyError(text.chars().take(80).collect());
        if text == "unix" {
            return Ok(Self::Local);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let most = bits(address).1;
        let prefix = match prefix {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().map_err(|_| error())?
            }
            Some(_) => return Err(error()),
            None => most,
        };
        let proxy = Self::Network { address, prefix };
        let is_whole = prefix <= most && first_bits(address, prefix) == bits(address).0;
        if is_whole { Ok(proxy) } else { Err(error()) }
    }

    fn includes(&self, peer: &Peer) -> bool {
        match (self, peer) {
            (Self::Network { address, prefix }, Peer::Internet(peer)) => {
                let peer = peer.ip().to_canonical();
                peer.is_ipv4() == address.is_ipv4() && first_bits(peer, *prefix) == bits(*address).0
            }
            (Self::Local, Peer::Local) => true,
            (Self::Network { .. }, Peer::Local) | (Self::Local, Peer::Internet(_)) => false,
        }
    }
}

/// An address as a number from the left, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

fn first_bits(address: IpAddr, prefix: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    bits(address).0 & mask
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "{texts:?}")
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { address, prefix } => write!(f, "{address}/{prefix}"),
            Self::Local => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(texts: &[&str]) -> TrustedProxies {
        TrustedProxies::new(texts.iter().map(|text| TrustedProxy::parse(text).unwrap()).collect())
    }

    fn peer(address: &str) -> Peer {
        Peer::Internet(format!("{address}:1").parse().unwrap())
    }

    #[test]
    fn a_network_takes_its_addresses_and_no_others() {
        let proxies = trusted(&["10.0.0.0/8", "192.0.2.7", "fd00::/8"]);
        for inside in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "[fd00::1]", "[::ffff:10.1.2.3]"] {
            assert!(proxies.include(&peer(inside)), "{inside}");
        }
        for outside in ["11.0.0.0", "192.0.2.8", "[fe00::1]", "[::a00:1]"] {
            assert!(!proxies.include(&peer(outside)), "{outside}");
        }
        assert!(!proxies.include(&Peer::Local));
        assert!(trusted(&["unix"]).include(&Peer::Local));
        assert!(!TrustedProxies::default().include(&Peer::Local));
    }

    #[test]
    fn the_whole_internet_is_a_network_too() {
        assert!(trusted(&["0.0.0.0/0"]).include(&peer("192.0.2.1")));
        assert!(!trusted(&["0.0.0.0/0"]).include(&peer("[2001:db8::1]")));
        assert!(trusted(&["::/0"]).include(&peer("[2001:db8::1]")));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in
            ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.1.0.0/8", "::/129", "host", "10.0.0.0/8/8"]
        {
            assert!(TrustedProxy::parse(bad).is_err(), "{bad:?}");
        }
    }
}
