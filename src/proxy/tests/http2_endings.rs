//! HTTP/2 from clients: how streams and connections end, by whose fault, and what the others notice of it.

use std::{io::Write, sync::mpsc, time::Duration};

use h2::Reason;
use http::Method;

use super::{
    http2::{OK, SHORT, connect, read, request, send},
    kit::{MessageReader, Origin, Rig, Setup, Then, eventually},
    raw2::{
        self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, Raw,
        SETTINGS, block, frame, get,
    },
};
use crate::{meter::FailureKind, proxy::LeastRate};

#[test]
fn half_a_preface_is_cut_after_the_head_timeout() {
    let mut setup = Setup::new(&[Origin::saying(OK).address]);
    setup.settings.head_timeout = SHORT;
    let rig = setup.start();
    let mut client = rig.client();
    client.send("PRI * HT");
    assert!(client.is_closed());
}

#[tokio::test]
async fn a_response_cut_short_is_reset_and_the_connection_serves_on() {
    let origin = Origin::new(|seen, stream| {
        let response = if seen.line.starts_with("GET /cut") {
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"
        } else {
            OK
        };
        stream.write_all(response.as_bytes()).unwrap();
        if response == OK { Then::Keep } else { Then::Close }
    });
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let mut cut = send(&mut sender, request(Method::GET, "/cut"), b"").await;
    assert_eq!(read(cut.body_mut()).await.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(send(&mut sender, request(Method::GET, "/"), b"").await.status(), 200);
    let reading = rig.blue_when(|reading| reading.settled() == 2);
    assert_eq!(reading.failures[FailureKind::Truncated.index()], 1);
}

#[test]
fn what_came_of_a_response_before_it_broke_reaches_the_client() {
    // The second is less than a client's first window, and more than one frame.
    for length in [4, 60_000] {
        let body = vec![b'x'; length];
        let origin = Origin::new(move |_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").unwrap();
            stream.write_all(&body).unwrap();
            Then::Close
        });
        let rig = Rig::before(&origin);
        let mut raw = Raw::connect(rig.address);
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/")));
        let mut received = 0;
        let reset = loop {
            let next = raw.frame().expect("a reset before the connection's end");
            match next.kind {
                DATA => received += next.payload.len(),
                RST_STREAM => break next,
                _ => {}
            }
        };
        assert_eq!((received, reset.payload), (length, 2_u32.to_be_bytes().to_vec()), "INTERNAL_ERROR");
        assert_eq!(
            rig.blue_when(|reading| reading.settled() == 1).failures[FailureKind::Truncated.index()],
            1
        );
    }
}

#[test]
fn a_client_that_takes_nothing_does_not_keep_a_broken_response() {
    let origin = Origin::new(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nx").unwrap();
        Then::Close
    });
    let rig = Rig::before(&origin);
    let mut raw = Raw::connect(rig.address);
    // A window of nothing (RFC 9113 section 6.5.2: 4 is SETTINGS_INITIAL_WINDOW_SIZE).
    raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/")));
    assert!(raw.next(HEADERS).is_some());
    let later = std::iter::from_fn(|| raw.frame()).find(|frame| matches!(frame.kind, DATA | RST_STREAM));
    assert_eq!(later.map(|frame| (frame.kind, frame.stream)), Some((RST_STREAM, 1)));
}

#[test]
fn a_stream_whose_client_takes_nothing_is_cut_for_it_and_the_others_are_not() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody");
    let mut setup = Setup::new(&[origin.address]);
    setup.settings.least_rate = LeastRate { bytes_per_second: 256, window: SHORT };
    let rig = setup.start();
    let mut raw = Raw::connect(rig.address);
    raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/")));
    let reset = raw.next(RST_STREAM).unwrap();
    assert_eq!((reset.stream, rig.workers[0].too_slow.get()), (1, 1));
    raw.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]));
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &get("/")));
    assert_eq!(raw.next(DATA).map(|frame| (frame.stream, frame.payload)), Some((3, b"body".to_vec())));
}

#[tokio::test]
async fn a_stream_that_the_client_resets_ends_the_work_and_counts_for_nobody() {
    let (gone, is_gone) = mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::raw(move |stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        reader.request();
        assert!(reader.line().is_none(), "nothing more but the end");
        gone.lock().unwrap().send(()).unwrap();
    });
    let rig = Rig::before(&origin);
    let mut sender = connect(rig.address).await;
    let (response, mut stream) = sender.send_request(request(Method::GET, "/"), true).unwrap();
    while rig.blue().dealt == 0 {
        tokio::task::yield_now().await;
    }
    stream.send_reset(Reason::CANCEL);
    assert!(response.await.is_err());
    tokio::task::yield_now().await;
    is_gone.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).client_gone, 1);
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_the_stream_and_not_the_connection() {
    let origin = Origin::new(|_, stream| {
        let big = vec![b'x'; 4 << 20];
        let sent =
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", big.len()).as_bytes());
        if sent.and_then(|()| stream.write_all(&big)).is_ok() { Then::Keep } else { Then::Close }
    });
    let mut setup = Setup::new(&[origin.address]);
    setup.limits.idle_timeout = Duration::from_millis(600);
    let rig = setup.start();
    let mut sender = connect(rig.address).await;
    let mut stuck = send(&mut sender, request(Method::GET, "/"), b"").await;
    assert_eq!(rig.blue_when(|reading| reading.settled() == 1).client_gone, 1);
    let error = read(stuck.body_mut()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    let mut whole = send(&mut sender, request(Method::GET, "/"), b"").await;
    assert_eq!(read(whole.body_mut()).await.unwrap().len(), 4 << 20);
}

#[test]
fn a_body_that_its_client_gives_up_is_never_complete_whatever_the_reason() {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Origin::raw(move |stream, _, _| {
        let mut reader = MessageReader::new(stream.try_clone().unwrap());
        assert!(reader.head().is_some());
        for _ in 0..3 {
            tell.lock().unwrap().send(reader.line()).unwrap();
        }
    });
    let rig = Rig::before(&origin);
    for reason in [Reason::NO_ERROR, Reason::CANCEL] {
        let mut raw = Raw::connect(rig.address);
        let post = block(&[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "test")]);
        raw.send(&[frame(HEADERS, END_HEADERS, 1, &post), frame(DATA, 0, 1, b"half")].concat());
        assert_eq!(
            [told.recv().unwrap(), told.recv().unwrap()],
            [Some("4".to_owned()), Some("half".to_owned())]
        );
        raw.send(&frame(RST_STREAM, 0, 1, &u32::from(reason).to_be_bytes()));
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).unwrap(), None, "{reason}: no last chunk");
    }
    assert_eq!(rig.blue_when(|reading| reading.settled() == 2).client_gone, 2);
}

#[tokio::test]
async fn a_drain_says_goodbye_and_lets_running_streams_end() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::new(move |_, stream| {
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(OK.as_bytes()).unwrap();
        Then::Keep
    });
    let mut rig = Rig::before(&origin);
    let mut raw = Raw::connect(rig.address);
    assert!(raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/"))));
    eventually(|| (rig.blue().dealt == 1).then_some(()));
    rig.begin_drain();
    let goodbye = raw.next(GOAWAY).unwrap();
    assert_eq!(&goodbye.payload[4..8], [0; 4], "no error");
    let ping = raw.next(PING).unwrap();
    assert!(raw.send(&frame(PING, ACK, 0, &ping.payload)));
    assert_eq!(&raw.next(GOAWAY).unwrap().payload[..8], [0, 0, 0, 1, 0, 0, 0, 0], "the last stream is known");
    go.send(()).unwrap();
    let answer = raw.next(HEADERS).unwrap();
    assert_eq!(answer.stream, 1);
    assert_eq!(raw.next(raw2::DATA).unwrap().payload, b"ok");
    raw.rest();
    rig.join();
}

#[test]
fn an_idle_connection_is_told_before_it_is_closed() {
    let mut setup = Setup::new(&[Origin::saying(OK).address]);
    setup.settings.keep_alive_timeout = SHORT;
    let rig = setup.start();
    let mut raw = Raw::connect(rig.address);
    assert!(raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &get("/"))));
    assert!(raw.next(raw2::DATA).is_some());
    assert_eq!(&raw.next(GOAWAY).unwrap().payload[4..8], [0; 4], "no error");
}

#[test]
fn rapid_resets_end_their_connection_and_no_other() {
    let origin = Origin::saying(OK);
    let rig = Rig::before(&origin);
    let mut raw = Raw::connect(rig.address);
    let flood: Vec<u8> = (0..5_000_u32)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get("/"));
            [head, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        })
        .collect();
    raw.send(&flood);
    let goodbye = raw.next(GOAWAY).unwrap();
    assert_eq!(&goodbye.payload[4..8], [0, 0, 0, 11], "enhance your calm");
    assert_eq!(rig.client().get("/").status, 200);
    rig.blue_when(|reading| reading.dealt == reading.settled());
    assert!(origin.seen().len() < 500, "{} requests that nobody waited for", origin.seen().len());
}

#[test]
fn a_flood_of_continuations_is_cut() {
    let rig = Rig::before(&Origin::saying(OK));
    let mut raw = Raw::connect(rig.address);
    raw.send(&frame(HEADERS, 0, 1, &get("/")));
    let piece = frame(CONTINUATION, 0, 1, &block(&[("x-filler", &"x".repeat(100))]).repeat(100));
    let taken = (0..5_000).take_while(|_| raw.send(&piece)).count();
    assert!(taken < 5_000, "the proxy took {taken} frames of one head");
    assert_eq!(rig.client().get("/").status, 200);
}
