//! Connections that become tunnels.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{Mutex, mpsc},
    time::Duration,
};

use socket2::SockRef;

use super::kit::{Client, MessageReader, Origin, Rig, Setup, Then, eventually};
use crate::{fleet::Address, meter::FailureKind, route::Upgrades};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const SHORT: Duration = Duration::from_millis(150);

/// The handshake of RFC 6455 section 1.3.
pub(super) const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nhost: test\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Protocol: tokens\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: tokens\r\n\r\n";

/// An origin that switches protocols and then does as it is told.
fn switching(and_then: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Origin {
    Origin::new(move |_, stream| {
        stream.write_all(SWITCHED.as_bytes()).unwrap();
        and_then(stream);
        Then::Close
    })
}

/// An instance that answers one handshake, says `words` as soon as it hears anything, if it is to say anything, and resets the connection.
pub(super) fn resetting(answer: impl Fn(&str) -> String + Send + 'static, words: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = read_head(&mut stream);
        stream.write_all(answer(&head).as_bytes()).unwrap();
        if !words.is_empty() {
            stream.read_exact(&mut [0; 2]).unwrap();
            stream.write_all(words.as_bytes()).unwrap();
            // Once the client has answered to them, they cannot be lost in the reset.
            stream.read_exact(&mut [0; 2]).unwrap();
        }
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    address
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// Says everything again that it hears.
fn echo(stream: &mut TcpStream) {
    let mut heard = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut heard) {
        if stream.write_all(&heard[..length]).is_err() {
            return;
        }
    }
}

/// A client whose connection is a tunnel.
fn switched(rig: &Rig) -> Client {
    let mut client = rig.client();
    client.send(HANDSHAKE);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client
}

#[test]
fn a_websocket_passes_both_ways_and_is_one_request_that_lasts_as_long_as_it_does() {
    let origin = switching(echo);
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send(HANDSHAKE);
    let answer = client.answer();
    assert_eq!(answer.status, 101);
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "tokens"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let seen = &origin.seen()[0];
    for (name, value) in [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(seen.header(name), [value], "{name}");
    }
    for message in ["one", "two", "three"] {
        client.send(message).expect(message);
    }
    assert_eq!(
        (rig.blue().settled(), rig.route.blue.fleet.in_flight(), rig.workers[0].upgraded.get()),
        (0, 1, 1)
    );
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.is_closed());
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.succeeded, reading.bytes_in, reading.bytes_out), (1, 11, 11));
    assert_eq!(reading.statuses, [1, 0, 0, 0, 0]);
    // The tunnel itself ends once its outcome was counted.
    let open = || (rig.route.blue.fleet.in_flight(), rig.workers[0].upgraded.get());
    eventually(|| (open() == (0, 0)).then_some(()));
}

#[test]
fn each_side_may_end_first_and_hear_the_other_out() {
    let origin = Origin::new(|seen, stream| {
        stream.write_all(SWITCHED.as_bytes()).unwrap();
        let mut heard = Vec::new();
        if seen.line.contains("/first") {
            stream.write_all(b"bye").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut heard).unwrap();
        } else {
            stream.read_to_end(&mut heard).unwrap();
            stream.write_all(&heard).unwrap();
        }
        assert_eq!(heard, b"last words");
        Then::Close
    });
    let rig = Rig::before(&origin);
    let mut client = switched(&rig);
    client.send("last words").stream.shutdown(Shutdown::Write).unwrap();
    client.expect("last words");
    assert!(client.is_closed());
    let mut client = rig.client();
    client.send(HANDSHAKE.replace("/chat", "/first")).head();
    client.expect("bye");
    assert!(client.is_closed(), "the instance has ended");
    client.send("last words").stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.blue_when(|reading| reading.settled() == 2).succeeded, 2);
}

#[test]
fn what_comes_with_the_answer_or_before_it_is_not_lost() {
    let origin = Origin::new(|_, stream| {
        stream.write_all([SWITCHED.as_bytes(), b"hello"].concat().as_slice()).unwrap();
        echo(stream);
        Then::Close
    });
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send([HANDSHAKE.as_bytes(), b"early"].concat());
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.expect("helloearly");
}

#[test]
fn what_follows_an_upgrade_that_is_refused_is_the_next_request() {
    let origin = Origin::new(|seen, stream| {
        let refused =
            "HTTP/1.1 426 Upgrade Required\r\nsec-websocket-version: 8\r\ncontent-length: 0\r\n\r\n";
        let answer = if seen.line.contains("/chat") { refused } else { OK };
        stream.write_all(answer.as_bytes()).unwrap();
        Then::Keep
    });
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send([HANDSHAKE, "GET /next HTTP/1.1\r\nhost: test\r\n\r\n"].concat());
    let refused = client.answer();
    assert_eq!((refused.status, refused.header("sec-websocket-version")), (426, Some("8")));
    assert_eq!(client.answer().text(), "ok");
    // Through the gate, like any other.
    client.send([HANDSHAKE, "GET /next HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"].concat());
    assert_eq!((client.answer().status, client.answer().status), (426, 400));
    let lines: Vec<_> = origin.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["GET /chat HTTP/1.1", "GET /next HTTP/1.1", "GET /chat HTTP/1.1"]);
}

#[test]
fn what_the_endpoint_does_not_allow_is_an_ordinary_request() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nhi",
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: tok\r\n\r\n",
    ] {
        assert_eq!(client.send(request).answer().text(), "ok", "{request}");
    }
    let old = "GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(rig.client().send(old).answer().text(), "ok", "RFC 9110 section 7.8");
    let mut setup = Setup::new(&[origin.address]);
    setup.upgrades = Upgrades::new([]).unwrap();
    assert_eq!(setup.start().client().send(HANDSHAKE).answer().text(), "ok");
    for seen in origin.seen() {
        assert_eq!(seen.header("upgrade").len() + seen.header("connection").len(), 0, "{seen:?}");
        assert_eq!(seen.header("http2-settings").len(), 0, "{seen:?}");
    }
}

#[test]
fn another_protocol_is_passed_on_where_it_is_allowed() {
    let origin = Origin::new(|seen, stream| {
        assert_eq!(seen.header("upgrade"), ["tok/1"]);
        stream.write_all(b"HTTP/1.1 101 Go\r\nupgrade: tok/1\r\nconnection: upgrade\r\n\r\n").unwrap();
        echo(stream);
        Then::Close
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.upgrades = Upgrades::new(["tok/1"]).unwrap();
    let rig = setup.start();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket, TOK/1\r\n\r\n");
    assert!(client.head().contains("upgrade: tok/1"));
    client.send("hi").expect("hi");
}

#[test]
fn an_upgrade_that_two_readers_could_end_differently_is_refused() {
    let origin = switching(echo);
    let rig = Rig::before(&origin);
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (why, request) in [
        ("a body", HANDSHAKE.replace("\r\n\r\n", "\r\ncontent-length: 5\r\n\r\nhello")),
        ("chunks", HANDSHAKE.replace("\r\n\r\n", "\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("a POST", HANDSHAKE.replace("GET", "POST")),
        ("no key", HANDSHAKE.replace("Sec-WebSocket-Key", "x-key")),
        ("two keys", HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{key}\r\n"))),
        ("half a key", HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZQ")),
    ] {
        let mut client = rig.client();
        assert_eq!(client.send(request).answer().status, 400, "{why}");
        assert!(client.is_closed(), "{why}");
    }
    assert_eq!((origin.connections(), rig.blue().dealt), (0, 0));
}

#[test]
fn a_switch_that_was_not_asked_for_is_no_answer() {
    for (why, answer) in [
        ("another protocol", SWITCHED.replace("websocket", "h2c")),
        ("two protocols", SWITCHED.replace("upgrade: websocket", "upgrade: websocket\r\nupgrade: h2c")),
        ("no protocol", SWITCHED.replace("upgrade: websocket", "x-upgrade: websocket")),
        ("no word of the connection", SWITCHED.replace("connection: Upgrade", "connection: keep-alive")),
        ("a wrong proof", SWITCHED.replace("s3pP", "S3pP")),
        ("no proof", SWITCHED.replace("sec-websocket-accept", "x-accept")),
        ("a body", SWITCHED.replace("\r\n\r\n", "\r\ncontent-length: 2\r\n\r\nok")),
    ] {
        let origin = Origin::new(move |_, stream| {
            stream.write_all(answer.as_bytes()).unwrap();
            Then::Close
        });
        let rig = Rig::before(&origin);
        let mut client = rig.client();
        client.send(HANDSHAKE);
        assert_eq!(client.answer().status, 502, "{why}");
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!(reading.failures[FailureKind::BadResponse.index()], 1, "{why}");
    }
}

#[test]
fn an_instance_that_ends_before_its_first_word_or_breaks_the_connection_has_failed() {
    let silent = switching(|_| {});
    for (why, instance, words) in [
        ("an end", silent.address, ""),
        ("a reset", resetting(|_| SWITCHED.to_owned(), ""), ""),
        ("a reset after a word", resetting(|_| SWITCHED.to_owned(), "ho"), "ho"),
    ] {
        let rig = Setup::new(&[instance]).start();
        let mut client = switched(&rig);
        if !words.is_empty() {
            client.send("hi").expect(words);
            client.send("hi");
        }
        assert!(client.is_closed(), "{why}");
        let reading = rig.blue_when(|reading| reading.settled() == 1);
        assert_eq!(reading.failures[FailureKind::Truncated.index()], 1, "{why}");
    }
}

#[test]
fn a_client_that_breaks_the_connection_counts_for_nobody_and_frees_the_instance() {
    let (ended, ends) = mpsc::channel();
    let origin = switching(move |stream| {
        echo(stream);
        ended.send(()).unwrap();
    });
    let rig = Rig::before(&origin);
    let mut client = switched(&rig);
    client.send("hi").expect("hi");
    SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    ends.recv().unwrap();
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.client_gone, reading.succeeded, reading.failed()), (1, 0, 0));
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed_and_only_an_instance_that_never_spoke_is_to_blame() {
    let origin = switching(|stream| {
        let mut heard = [0; 2];
        stream.read_exact(&mut heard).unwrap();
        if &heard == b"hi" {
            stream.write_all(b"ho").unwrap();
        }
        while let Ok(1..) = stream.read(&mut heard) {}
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.idle_timeout = SHORT;
    let rig = setup.start();
    let mut client = switched(&rig);
    client.send("hi").expect("ho");
    assert!(client.is_closed());
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).client_gone, 1);
    let mut client = switched(&rig);
    client.send("so");
    assert!(client.is_closed());
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!(reading.failures[FailureKind::IdleTimeout.index()], 1);
}

#[test]
fn a_tunnel_in_which_bytes_pass_ends_with_its_lifetime_and_blames_nobody() {
    let origin = switching(echo);
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.upgrade_lifetime = Some(SHORT);
    let rig = setup.start();
    let mut client = switched(&rig);
    client.send("hi").expect("hi");
    let mut heard = [0; 2];
    while client.stream.write_all(b"hi").is_ok() && client.stream.read_exact(&mut heard).is_ok() {
        assert_eq!(&heard, b"hi");
    }
    let reading = rig.blue_when(|reading| reading.settled() == 1);
    assert_eq!((reading.client_gone, reading.failed()), (1, 0));
    eventually(|| (rig.workers[0].upgraded.get() == 0).then_some(()));
}

#[test]
fn a_side_that_does_not_read_holds_the_other_back_and_loses_nothing() {
    const BYTES: usize = 32 << 20;
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let origin = switching(move |stream| {
        gone.lock().unwrap().recv().unwrap();
        echo(stream);
    });
    let rig = Rig::before(&origin);
    let mut client = switched(&rig);
    let mut writer = client.stream.try_clone().unwrap();
    let sent: Vec<u8> = (0..BYTES).map(|place| u8::try_from(place % 251).unwrap()).collect();
    let text = sent.clone();
    let (wrote, writes) = mpsc::channel();
    let writing = std::thread::spawn(move || {
        for part in text.chunks(1 << 20) {
            writer.write_all(part).unwrap();
            wrote.send(()).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    // Less fits into all sockets' buffers than there is to send, so the writer stands still now and then goes on.
    while writes.recv_timeout(Duration::from_millis(300)).is_ok() {}
    assert!(!writing.is_finished(), "the proxy has taken what nobody reads");
    go.send(()).unwrap();
    let mut heard = vec![0; BYTES];
    client.stream.read_exact(&mut heard).unwrap();
    assert!(heard == sent, "what came back is not what was sent");
    writing.join().unwrap();
    assert!(client.is_closed());
    let reading = rig.blue_when(|reading| reading.succeeded == 1);
    assert_eq!((reading.bytes_in, reading.bytes_out), (BYTES as u64, BYTES as u64));
}

#[test]
fn a_drain_lets_tunnels_run_and_its_timeout_cuts_them_for_nobody() {
    let origin = switching(echo);
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.drain_timeout = Duration::from_secs(2);
    let mut rig = setup.start();
    let (mut ending, mut staying) = (switched(&rig), switched(&rig));
    rig.begin_drain();
    eventually(|| TcpStream::connect(rig.address).err());
    ending.send("still").expect("still");
    staying.send("here").expect("here");
    ending.stream.shutdown(Shutdown::Write).unwrap();
    assert!(ending.is_closed());
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).succeeded, 1);
    rig.join();
    assert!(staying.is_closed());
    assert_eq!((rig.blue().client_gone, rig.blue().failed()), (1, 0));
}

#[test]
fn a_tunnel_stays_with_its_fleet_when_the_split_changes() {
    let blue = switching(echo);
    let green = switching(|stream| {
        stream.write_all(b"green ").unwrap();
        echo(stream);
    });
    let mut setup = Setup::new(&[blue.address]);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    let rig = setup.start();
    let mut client = switched(&rig);
    client.expect("green ");
    rig.give("0%");
    client.send("stays").expect("stays");
    let mut other = switched(&rig);
    other.send("blue").expect("blue");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.is_closed());
    let reading = rig.green_when(|reading| reading.settled() == 1);
    assert_eq!((reading.succeeded, rig.blue().dealt), (1, 1));
    let meters = &rig.route.green.as_ref().unwrap().meters;
    assert_eq!(meters.latency(), meters.first_byte(), "how long it lasted is not how long it was waited for");
}

#[test]
fn an_upgrade_that_green_fails_goes_to_blue() {
    let blue = switching(echo);
    let green = Origin::saying("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let mut setup = Setup::new(&[blue.address]);
    (setup.green, setup.green_share) = (vec![green.address], "100%");
    let rig = setup.start();
    let mut client = switched(&rig);
    client.send("hi").expect("hi");
    assert_eq!(rig.green_when(|reading| reading.settled() == 1).failed(), 1);
}

#[test]
fn a_tunnel_leads_to_a_unix_domain_socket() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("model.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream.write_all(SWITCHED.as_bytes()).unwrap();
        let mut heard = [0; 2];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
    });
    let mut setup = Setup::new(&[]);
    setup.blue_addresses = vec![Address::parse(&format!("unix:{}", path.display())).unwrap()];
    let rig = setup.start();
    let mut client = switched(&rig);
    client.send("hi").expect("hi");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.is_closed());
}

#[test]
fn an_offer_to_upgrade_does_not_take_the_time_to_read_an_early_answer() {
    let origin = Origin::raw(|stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        reader.head().unwrap();
        stream.write_all(b"HTTP/1.1 413 No\r\ncontent-length: 2\r\n\r\nno").unwrap();
        while reader.line().is_some() {}
    });
    let rig = Rig::before(&origin);
    let mut client = rig.client();
    client.send(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 50000000\r\n\r\n",
    );
    client.send(vec![b'x'; 100_000]);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (413, "no"));
    assert!(client.is_closed(), "the proxy ended its side");
    client.send(vec![b'x'; 100_000]);
    assert!(client.stream.write_all(&[b'x'; 10_000]).is_ok(), "what a client sends on is read, not reset");
}
