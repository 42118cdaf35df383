//! What connections begin with and what carries them: PROXY protocol headers, TLS, Unix-domain sockets, trusted proxies.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::{UnixListener, UnixStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use tempfile::TempDir;

use super::{
    kit::{Origin, Setup, Then, eventually},
    raw2,
};
use crate::{
    fleet::{Address, Protocol, UpstreamTls},
    meter::FailureKind,
    net::{ListenAddress, ProxyProtocol, TrustedProxies, TrustedProxy},
    tls::{Server, fixture::Authority},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn trusting(network: &str) -> TrustedProxies {
    TrustedProxies::new(vec![TrustedProxy::parse(network).unwrap()])
}

fn server(authority: &Authority, folder: &TempDir) -> Arc<Server> {
    authority.server(folder.path(), "localhost", crate::proxy::PROTOCOLS)
}

/// A TLS client that trusts this authority.
fn tls_client(authority: &Authority, stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
    StreamOwned::new(handshake(authority, &[]), stream)
}

fn handshake(authority: &Authority, protocols: &[&str]) -> ClientConnection {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

#[test]
fn the_client_that_a_proxy_protocol_header_names_is_the_one_that_instances_are_told_of() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.proxy_protocol = ProxyProtocol::Required;
    let rig = setup.start();
    let mut client = rig.client();
    client.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n");
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(client.get("/").text(), "ok");
    let seen = origin.seen();
    assert!(seen.iter().all(|request| request.header("x-forwarded-for") == ["192.0.2.7"]), "{seen:?}");
}

#[test]
fn a_connection_without_its_proxy_protocol_header_is_closed_and_counted() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.proxy_protocol = ProxyProtocol::Required;
    let rig = setup.start();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert!(client.is_closed());
    eventually(|| (rig.workers[0].proxy_headers_refused.get() == 1).then_some(()));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn lists_of_a_trusted_proxy_are_continued() {
    let origin = Origin::saying(OK);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.trusted_proxies = trusting("127.0.0.0/8");
    let rig = setup.start();
    rig.client()
        .send(
            "GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 192.0.2.7\r\nforwarded: for=192.0.2.7\r\n\
         x-forwarded-proto: https\r\n\r\n",
        )
        .answer();
    let seen = origin.seen();
    assert_eq!(seen[0].header("x-forwarded-for"), ["192.0.2.7, 127.0.0.1"]);
    assert_eq!(seen[0].header("forwarded"), ["for=192.0.2.7, for=127.0.0.1;host=\"test\";proto=http"]);
    assert_eq!(seen[0].header("x-forwarded-proto"), ["https"]);
}

#[test]
fn a_client_with_tls_is_served_and_instances_are_told() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let origin = Origin::saying(OK);
    let setup = Setup { tls: Some(server(&authority, &folder)), ..Setup::new(&[origin.address]) };
    let rig = setup.start();
    let mut client = tls_client(&authority, TcpStream::connect(rig.address).unwrap());
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            let mut chunk = [0; 512];
            let length = client.read(&mut chunk).unwrap();
            answer.extend_from_slice(&chunk[..length]);
        }
    }
    assert_eq!(client.conn.alpn_protocol(), None);
    let seen = origin.seen();
    assert!(seen.iter().all(|request| request.header("x-forwarded-proto") == ["https"]), "{seen:?}");
}

#[test]
fn a_client_that_agrees_on_http2_in_its_handshake_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let origin = Origin::saying(OK);
    let rig = Setup { tls: Some(server(&authority, &folder)), ..Setup::new(&[origin.address]) }.start();
    let stream = TcpStream::connect(rig.address).unwrap();
    let mut client = StreamOwned::new(handshake(&authority, &["h2", "http/1.1"]), stream);
    let request = raw2::frame(raw2::HEADERS, raw2::END_HEADERS | raw2::END_STREAM, 1, &raw2::get("/"));
    client.write_all(&[raw2::PREFACE, &raw2::frame(raw2::SETTINGS, 0, 0, &[]), &request].concat()).unwrap();
    let mut seen = Vec::new();
    // Index 8 of HPACK's static table is `:status: 200`.
    while !seen.windows(10).any(|frame| frame[3..5] == [raw2::HEADERS, raw2::END_HEADERS] && frame[9] == 0x88)
    {
        let mut space = [0; 1024];
        let length = client.read(&mut space).unwrap();
        assert!(length > 0, "an answer before the end: {seen:?}");
        seen.extend_from_slice(&space[..length]);
    }
    assert_eq!(client.conn.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(origin.seen()[0].header("x-forwarded-proto"), ["https"]);
}

#[test]
fn a_client_with_tls_that_leaves_while_it_waits_is_noticed() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let origin = Origin::new(|_, stream| {
        let left = stream.read(&mut [0; 1]);
        assert!(matches!(left, Ok(0) | Err(_)));
        Then::Close
    });
    let rig = Setup { tls: Some(server(&authority, &folder)), ..Setup::new(&[origin.address]) }.start();
    let mut client = tls_client(&authority, TcpStream::connect(rig.address).unwrap());
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    eventually(|| (origin.seen().len() == 1).then_some(()));
    client.conn.send_close_notify();
    client.flush().unwrap();
    drop(client);
    rig.blue_when(|reading| reading.client_gone == 1);
}

#[test]
fn a_handshake_that_fails_harms_nobody_and_is_counted() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let rig =
        Setup { tls: Some(server(&authority, &folder)), ..Setup::new(&[Origin::saying(OK).address]) }.start();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    // The server's alert, and the end.
    let mut alert = Vec::new();
    client.stream.read_to_end(&mut alert).ok();
    eventually(|| (rig.workers[0].handshakes_failed.get() == 1).then_some(()));
    let stranger = Authority::new(folder.path(), "stranger");
    assert!(tls_client(&stranger, TcpStream::connect(rig.address).unwrap()).write_all(b"x").is_err());
    eventually(|| (rig.workers[0].handshakes_failed.get() == 2).then_some(()));
    eventually(|| (rig.workers[0].connections.get() == 0).then_some(()));
}

#[test]
fn a_handshake_that_never_ends_is_cut_and_counted() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let rig =
        Setup { tls: Some(server(&authority, &folder)), ..Setup::new(&[Origin::saying(OK).address]) }.start();
    let (mut silent, mut begun) = (rig.client(), rig.client());
    // A record of TLS that announces a client's hello, of which nothing comes.
    begun.send(b"\x16\x03\x01\x02\x00\x01");
    assert!(silent.is_closed() && begun.is_closed());
    eventually(|| (rig.workers[0].handshakes_failed.get() == 2).then_some(()));
}

#[test]
fn a_plane_listens_and_instances_are_reached_through_unix_domain_sockets() {
    let folder = TempDir::new().unwrap();
    let (model, data) = (folder.path().join("model.sock"), folder.path().join("data.sock"));
    let listener = UnixListener::bind(&model).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0; 1];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            assert!(String::from_utf8(head).unwrap().contains("x-forwarded-for: unknown\r\n"));
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let mut setup = Setup::new(&[]);
    setup.blue_addresses = vec![Address::parse(&format!("unix:{}", model.display())).unwrap()];
    setup.listen = ListenAddress::Unix(data.clone());
    setup.workers = 2;
    let _rig = setup.start();
    for _ in 0..4 {
        let mut client = UnixStream::connect(&data).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    }
}

#[test]
fn http2_over_tls_needs_an_instance_that_agrees_to_it() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let inner = Origin::saying(OK);
    for (protocols, status) in [(&["h2", "http/1.1"][..], 200), (&["http/1.1"], 502)] {
        let tls = Some(authority.server(folder.path(), "localhost", protocols));
        let model = Setup { tls, ..Setup::new(&[inner.address]) }.start();
        let tls = UpstreamTls {
            ca: Some(authority.file.clone()),
            server_name: Some("localhost".to_owned()),
            identity: None,
        };
        let setup = Setup::new(&[model.address]);
        let rig = Setup { blue_tls: Some(Arc::new(tls)), protocol: Protocol::H2, ..setup }.start();
        let mut client = rig.client();
        for _ in 0..3 {
            assert_eq!(client.post("/", "hello").status, status, "{protocols:?}");
        }
        // A connection that was not agreed on is closed, which the model server hears of later.
        let kept = u64::from(status == 200);
        eventually(|| (model.workers[0].connections.get() == kept).then_some(()));
    }
    assert_eq!(inner.seen().len(), 3);
}

#[test]
fn an_instance_with_tls_is_verified_before_it_gets_anything() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let stranger = Authority::new(folder.path(), "stranger");
    let inner = Origin::saying(OK);
    // A plane with TLS is the model server of another.
    let model = Setup { tls: Some(server(&authority, &folder)), ..Setup::new(&[inner.address]) }.start();
    for (ca, name, status) in [
        (&authority, Some("localhost"), 200),
        (&stranger, Some("localhost"), 502),
        (&authority, Some("other"), 502),
        (&authority, None, 502),
    ] {
        let tls =
            UpstreamTls { ca: Some(ca.file.clone()), server_name: name.map(str::to_owned), identity: None };
        let rig = Setup { blue_tls: Some(Arc::new(tls)), ..Setup::new(&[model.address]) }.start();
        let before = inner.seen().len();
        assert_eq!(rig.client().get("/").status, status, "{name:?}");
        assert_eq!(inner.seen().len() - before, usize::from(status == 200), "{name:?}");
    }
}

#[test]
fn an_instance_that_never_ends_its_handshake_is_given_up_after_the_time_to_connect() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let silent = Origin::raw(|stream, _, _| {
        // Takes what the plane says until it hangs up, and answers nothing.
        std::io::copy(stream, &mut std::io::sink()).unwrap();
    });
    let tls = UpstreamTls { ca: Some(authority.file.clone()), server_name: None, identity: None };
    let mut setup = Setup { blue_tls: Some(Arc::new(tls)), ..Setup::new(&[silent.address]) };
    setup.limits.connect_timeout = Duration::from_millis(150);
    let rig = setup.start();
    let answer = rig.client().get("/");
    assert_eq!(answer.status, 504, "{}", answer.text());
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!(reading.failures[FailureKind::ConnectFailed.index()], 1);
}
