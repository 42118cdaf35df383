//! Sockets that are more than TCP: listening addresses, streams that may be Unix-domain or TLS, and who is at the other end.

mod address;
mod inherited;
mod listening;
mod proxy_protocol;
mod stream;
mod trust;

pub use address::{ListenAddress, ListenAddressError};
pub use inherited::Inherited;
pub use listening::{Acceptor, Families, Listening, claim_port};
pub use proxy_protocol::{ProxyHeaderError, read_proxy_header};
pub use stream::{Ahead, Parked, Peer, Plain, Stream};
pub use trust::{ProxyProtocol, TrustedProxies, TrustedProxy, TrustedProxyError};

use stream::UNSENT_BYTES;
