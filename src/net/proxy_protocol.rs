//! The PROXY protocol, versions 1 and 2: a load balancer in front says in a first header whom it speaks for.
//!
//! Format: "The PROXY protocol", HAProxy's doc/proxy-protocol.txt, sections 2.1 and 2.2. Read strictly and within bounds: what
//! is not exactly a header ends the connection, since everything after it would be taken for a client's bytes. Nothing past the
//! header is read. Extensions (TLVs) are skipped: nothing here needs them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Both versions are told apart by this many bytes, and no header is shorter.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A line of version 1 with its end (section 2.1).
const LONGEST_LINE_BYTES: usize = 107;

/// Addresses and extensions of version 2. The addresses take at most 216 bytes; known extensions a few hundred.
const LONGEST_REST_BYTES: u16 = 4096;

/// Why a connection does not begin with a header.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// The connection broke or ended.
    #[error("the connection ended inside the PROXY protocol header")]
    Io(#[from] std::io::Error),
    /// Something else came.
    #[error("not a PROXY protocol header: {0}")]
    Malformed(&'static str),
}

/// Reads a connection's header and gives the client's address; `None` when the balancer speaks for itself, as in its health checks,
/// or for a client without an internet address.
pub async fn read_proxy_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [command, family, high, low] = fixed;
        let length = u16::from_be_bytes([high, low]);
        if length > LONGEST_REST_BYTES {
            return Err(ProxyHeaderError::Malformed("it is longer than a header needs to be"));
        }
        let mut rest = vec![0; usize::from(length)];
        stream.read_exact(&mut rest).await?;
        return parse_binary(command, family, &rest).map_err(ProxyHeaderError::Malformed);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(ProxyHeaderError::Malformed("it begins with neither version's signature"));
    }
    // The end of the line is not known before it is seen, and what follows is not ours to read.
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        if line.len() == LONGEST_LINE_BYTES {
            return Err(ProxyHeaderError::Malformed("its line does not end"));
        }
        line.push(stream.read_u8().await?);
    }
    parse_line(&line).map_err(ProxyHeaderError::Malformed)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`, or `PROXY UNKNOWN` and anything up to the line's end.
fn parse_line(line: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    let line = line.strip_suffix(b"\r\n").ok_or("its line does not end in CR LF")?;
    if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| "its line is not ASCII")?;
    let mut words = line.split(' ');
    let mut next = || words.next().ok_or("its line is too short");
    let (_, family) = (next()?, next()?);
    let address = |text: &str| -> Result<IpAddr, &'static str> {
        let parsed = match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => return Err("its family is none of TCP4, TCP6 and UNKNOWN"),
        };
        parsed.ok_or("an address is not one of its family")
    };
    let (source, _) = (address(next()?)?, address(next()?)?);
    let (source_port, _) = (port(next()?)?, port(next()?)?);
    if words.next().is_some() {
        return Err("its line is too long");
    }
    Ok(Some(SocketAddr::new(source, source_port)))
}

fn port(text: &str) -> Result<u16, &'static str> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let port = if is_plain { text.parse().ok() } else { None };
    port.ok_or("a port is not a number from 0 to 65535")
}

/// The part of a version 2 header after its signature (section 2.2): version and command, family and transport, and what the
/// length covers.
fn parse_binary(command: u8, family: u8, rest: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    match command {
        0x21 => {}
        0x20 => return Ok(None),
        _ => return Err("its version or command is unknown"),
    }
    match family {
        0x11 => {
            let (source, _, ports) = addresses::<4>(rest)?;
            Ok(Some(SocketAddr::new(Ipv4Addr::from(source).into(), ports)))
        }
        0x21 => {
            let (source, _, ports) = addresses::<16>(rest)?;
            Ok(Some(SocketAddr::new(Ipv6Addr::from(source).into(), ports)))
        }
        // Unspecified, and a Unix-domain stream.
        0x00 => Ok(None),
        0x31 if rest.len() >= 216 => Ok(None),
        0x31 => Err(TOO_SHORT),
        _ => Err("its family or transport is not one of streams"),
    }
}

const TOO_SHORT: &str = "it is too short for its addresses";

/// Both addresses and the source's port.
fn addresses<const N: usize>(rest: &[u8]) -> Result<([u8; N], [u8; N], u16), &'static str> {
    let (source, rest) = rest.split_first_chunk::<N>().ok_or(TOO_SHORT)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(TOO_SHORT)?;
    let (ports, _) = rest.split_first_chunk::<4>().ok_or(TOO_SHORT)?;
    let [high, low, _, _] = *ports;
    Ok((*source, *destination, u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    /// What is read from these bytes, and what is left of them.
    fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, String>, &[u8]) {
        let mut left = bytes;
        let read = read_proxy_header(&mut left).now_or_never().expect("memory is always ready");
        (read.map_err(|error| error.to_string()), left)
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn good(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_line_gives_the_client_and_nothing_after_it_is_read() {
        for (line, client) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", good("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::1 ::1 1 0\r\n", good("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN whatever it says\r\n", None),
        ] {
            let bytes = [line, "GET / HTTP/1.1\r\n"].concat();
            let (read, left) = read(bytes.as_bytes());
            assert_eq!((read, left), (Ok(client), &b"GET / HTTP/1.1\r\n"[..]), "{line}");
        }
    }

    #[test]
    fn a_line_that_could_be_read_in_two_ways_is_refused() {
        for line in [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 \r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 443\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWNX\r\n",
            "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        ] {
            assert!(read(line.as_bytes()).0.is_err(), "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "a".repeat(LONGEST_LINE_BYTES));
        let (refused, left) = read(long.as_bytes());
        assert!(refused.is_err() && long.len() - left.len() <= LONGEST_LINE_BYTES);
    }

    #[test]
    fn a_binary_header_gives_the_client_and_extensions_are_skipped() {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb];
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 16], &[0, 7, 0, 80]]
            .concat();
        for (bytes, client) in [
            (binary(0x21, 0x11, &v4), good("192.0.2.1:56324")),
            (binary(0x21, 0x11, &[&v4[..], &[4, 0, 3, 1, 2, 3]].concat()), good("192.0.2.1:56324")),
            (binary(0x21, 0x21, &v6), good("[2001:db8::1]:7")),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x21, 0x00, &[1; 9]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let bytes = [bytes, b"rest".to_vec()].concat();
            assert_eq!(read(&bytes), (Ok(client), &b"rest"[..]), "{bytes:?}");
        }
    }

    #[test]
    fn a_binary_header_that_is_short_long_or_of_another_kind_is_refused() {
        for bytes in [
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x31, &[0; 215]),
            binary(0x21, 0x12, &[0; 12]),
            binary(0x11, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x11, &[0; 4097]),
            binary(0x21, 0x11, &[0; 12])[..20].to_vec(),
        ] {
            assert!(read(&bytes).0.is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn every_client_reads_back_from_both_versions(
            client in any::<(std::net::IpAddr, u16)>(),
            rest in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let (address, port) = client;
            let (word, family, raw) = match address {
                IpAddr::V4(address) => ("TCP4", 0x11, address.octets().to_vec()),
                IpAddr::V6(address) => ("TCP6", 0x21, address.octets().to_vec()),
            };
            let line = format!("PROXY {word} {address} {address} {port} 1\r\n").into_bytes();
            let binary = binary(0x21, family, &[&raw[..], &raw, &port.to_be_bytes(), &[0, 1]].concat());
            for header in [line, binary] {
                let bytes = [&header[..], &rest].concat();
                prop_assert_eq!(read(&bytes), (Ok(Some(SocketAddr::new(address, port))), &rest[..]));
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_read_past_its_bounds(
            start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN", SIGNATURE]),
            bytes in prop::collection::vec(any::<u8>(), 0..5000),
        ) {
            let bytes = [start, &bytes].concat();
            let (_, left) = read(&bytes);
            prop_assert!(bytes.len() - left.len() <= 16 + usize::from(LONGEST_REST_BYTES));
        }

        #[test]
        fn no_line_of_likely_words_makes_it_panic(
            words in prop::collection::vec("TCP4|TCP6|UNKNOWN|1|65536|::1|192.0.2.1| |\r|\n|\r\n|[ -~]{0,4}", 0..9),
        ) {
            let line = format!("PROXY {}\r\n", words.join(" "));
            let (_, left) = read(line.as_bytes());
            prop_assert!(line.len() - left.len() <= LONGEST_LINE_BYTES);
        }
    }
}
