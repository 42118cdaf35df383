//! Where a port listens.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crate::fleet::Address;

/// Where a port listens: an internet address, or the path of a Unix-domain socket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ListenAddress {
    /// `127.0.0.1:8080`, `[::]:8080`. Port 0 takes a free one.
    Internet(SocketAddr),
    /// `unix:/run/snapback.sock`
    Unix(PathBuf),
}

/// Why a text is not a listen address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is not a listen address: write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\", or \
     \"unix:\" and an absolute path of at most 107 bytes, such as \"unix:/run/snapback.sock\""
)]
pub struct ListenAddressError(String);

impl ListenAddress {
    /// Checks a text.
    pub fn parse(text: &str) -> Result<Self, ListenAddressError> {
        let error = || ListenAddressError(text.chars().take(80).collect());
        if let Ok(address) = text.parse() {
            return Ok(Self::Internet(address));
        }
        let address = Address::parse(text).map_err(|_| error())?;
        address.unix_path().map(|path| Self::Unix(path.to_owned())).ok_or_else(error)
    }

    /// The internet address, if it is one.
    pub fn internet(&self) -> Option<SocketAddr> {
        match self {
            Self::Internet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether only one of the two could be bound. `[::]` beside `0.0.0.0` takes IPv6 alone, so these two go together.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Internet(one), Self::Internet(other)) => overlap(*one, *other),
            (Self::Unix(one), Self::Unix(other)) => one == other,
            (Self::Internet(_), Self::Unix(_)) | (Self::Unix(_), Self::Internet(_)) => false,
        }
    }
}

fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (left, right) = (one.ip(), other.ip());
    let any = |one: IpAddr, other: IpAddr| one.is_unspecified() && one.is_ipv4() == other.is_ipv4();
    one.port() != 0 && one.port() == other.port() && (left == right || any(left, right) || any(right, left))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Internet(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["127.0.0.1:8080", "[::]:0", "[fe80::1]:1", "unix:/run/snapback.sock"] {
            assert_eq!(ListenAddress::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_path_is_absolute_names_a_file_and_fits_a_socket_address() {
        let long = format!("unix:/{}", "a".repeat(107));
        for bad in
            ["", "localhost:80", "unix:", "unix:/", "unix:a", "unix:/a/", "/run/a", "unix:/a\0b", &long]
        {
            assert!(ListenAddress::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ListenAddress::parse(&long[..long.len() - 1]).is_ok());
    }

    #[test]
    fn addresses_overlap_when_the_second_could_not_be_bound() {
        let overlaps =
            |one, other| ListenAddress::parse(one).unwrap().overlaps(&ListenAddress::parse(other).unwrap());
        assert!(overlaps("0.0.0.0:80", "127.0.0.1:80"));
        assert!(overlaps("[::1]:80", "[::]:80"));
        assert!(overlaps("unix:/a", "unix:/a"));
        assert!(!overlaps("0.0.0.0:80", "[::]:80"));
        assert!(!overlaps("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!overlaps("unix:/a", "unix:/b"));
    }
}
