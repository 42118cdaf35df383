//! A model server that fails in every way that a socket allows, as it is told from one request to the next.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use socket2::SockRef;

use super::kit::MessageReader;

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// Nothing: a whole answer with a length.
    None,
    /// A whole answer in chunks, with an extension and trailers.
    Chunks,
    /// A whole answer that ends with the connection.
    UntilClose,
    /// A whole answer, a byte in each segment.
    Drip,
    /// A whole answer after interim ones.
    Interim,
    /// A whole answer, then the end of the connection without a word.
    LateClose,
    /// A whole answer with a length, and one more behind it that nobody asked for.
    Poison,
    /// A whole answer before the request's body was read, then the end.
    Early,
    /// The connection is not taken.
    Refuse,
    /// It is taken and closed.
    CloseAtOnce,
    /// It is closed after the request.
    CloseAfterRequest,
    /// It is reset after the request's head.
    ResetAfterHead,
    /// It is closed within the response's head.
    HalfHead,
    Garbage,
    Http09,
    /// Nothing ever comes.
    Stall,
    EndlessInterim,
    GiantHead,
    ManyHeaders,
    TwoLengths,
    LengthAndChunks,
    TwoCodings,
    ChunksInHttp10,
    BadStatus,
    /// 101 to a request that asked for no other protocol.
    Switch,
    /// A header with a line end in its value, as far as it goes without being two headers.
    Splitting,
    /// A NUL in a header.
    Nul,
    /// Half of the promised length, then the end.
    HalfBody,
    /// No last chunk.
    HalfChunks,
    /// A reset within the body.
    ResetInBody,
    /// Half of the promised length, then nothing.
    StallInBody,
    BadChunkSize,
    LongChunk,
    EndlessExtension,
    EndlessTrailers,
    EndlessZeros,
}

impl Fault {
    pub(super) const ALL: [Self; 36] = [
        Self::None,
        Self::Chunks,
        Self::UntilClose,
        Self::Drip,
        Self::Interim,
        Self::LateClose,
        Self::Poison,
        Self::Early,
        Self::Refuse,
        Self::CloseAtOnce,
        Self::CloseAfterRequest,
        Self::ResetAfterHead,
        Self::HalfHead,
        Self::Garbage,
        Self::Http09,
        Self::Stall,
        Self::EndlessInterim,
        Self::GiantHead,
        Self::ManyHeaders,
        Self::TwoLengths,
        Self::LengthAndChunks,
        Self::TwoCodings,
        Self::ChunksInHttp10,
        Self::BadStatus,
        Self::Switch,
        Self::Splitting,
        Self::Nul,
        Self::HalfBody,
        Self::HalfChunks,
        Self::ResetInBody,
        Self::StallInBody,
        Self::BadChunkSize,
        Self::LongChunk,
        Self::EndlessExtension,
        Self::EndlessTrailers,
        Self::EndlessZeros,
    ];

    /// What a client may get of it.
    pub(super) fn shows_as(self) -> Shows {
        match self {
            Self::None
            | Self::Chunks
            | Self::UntilClose
            | Self::Drip
            | Self::Interim
            | Self::LateClose
            | Self::Poison
            | Self::Early => Shows::Whole,
            Self::Refuse
            | Self::CloseAtOnce
            | Self::CloseAfterRequest
            | Self::ResetAfterHead
            | Self::HalfHead
            | Self::Garbage
            | Self::Http09
            | Self::Stall
            | Self::EndlessInterim
            | Self::GiantHead
            | Self::ManyHeaders
            | Self::TwoLengths
            | Self::LengthAndChunks
            | Self::TwoCodings
            | Self::ChunksInHttp10
            | Self::BadStatus
            | Self::Switch
            | Self::Splitting
            | Self::Nul => Shows::Problem,
            Self::HalfBody
            | Self::HalfChunks
            | Self::ResetInBody
            | Self::StallInBody
            | Self::BadChunkSize
            | Self::LongChunk
            | Self::EndlessExtension
            | Self::EndlessTrailers
            | Self::EndlessZeros => Shows::Cut,
        }
    }
}

/// What a client gets of a fault: a whole and right answer, a problem, or a part of an answer that does not look complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shows {
    Whole,
    Problem,
    Cut,
}

/// The server. It does the same to every attempt until it is told something else.
pub(super) struct Faulty {
    pub(super) address: SocketAddr,
    orders: Arc<Mutex<Orders>>,
    open: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Orders {
    fault: Fault,
    /// What a request's body must be.
    body: Vec<u8>,
    answer: String,
    /// How many requests came with another body.
    spoilt: usize,
}

impl Faulty {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let orders = Orders { fault: Fault::None, body: Vec::new(), answer: String::new(), spoilt: 0 };
        let (orders, open) = (Arc::new(Mutex::new(orders)), Arc::new(AtomicUsize::new(0)));
        let (told, count) = (Arc::clone(&orders), Arc::clone(&open));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let (told, count) = (Arc::clone(&told), Arc::clone(&count));
                std::thread::spawn(move || {
                    serve(stream, &told);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, orders, open }
    }

    /// What becomes of the next request, which comes with this body and is answered with this.
    pub(super) fn tell(&self, fault: Fault, body: &[u8], answer: &str) {
        let mut orders = self.orders.lock().unwrap();
        (orders.fault, orders.body, orders.answer) = (fault, body.to_vec(), answer.to_owned());
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many requests did not arrive as they were sent.
    pub(super) fn spoilt(&self) -> usize {
        self.orders.lock().unwrap().spoilt
    }
}

/// Serves a connection to its end.
fn serve(mut stream: TcpStream, orders: &Mutex<Orders>) {
    stream.set_nodelay(true).unwrap();
    if orders.lock().unwrap().fault == Fault::CloseAtOnce {
        return;
    }
    let mut reader = MessageReader::new(stream.try_clone().unwrap());
    loop {
        let Some(head) = reader.head() else { return };
        if !matches!(orders.lock().unwrap().fault, Fault::Early | Fault::ResetAfterHead) {
            let Some(request) = reader.request_with(&head) else { return };
            let mut orders = orders.lock().unwrap();
            orders.spoilt += usize::from(request.body != orders.body);
        }
        let Orders { fault, answer, .. } = orders.lock().unwrap().clone();
        if !act(fault, &answer, &mut stream) {
            return;
        }
    }
}

/// Whether the connection is kept.
fn act(fault: Fault, answer: &str, stream: &mut TcpStream) -> bool {
    let length = answer.len();
    let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}");
    let half = &answer[..length / 2];
    let promised = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{half}");
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x};a=b\r\n{answer}\r\n");
    let with = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\ncontent-length: {length}\r\n\r\n{answer}");
    let mut say = |text: &str| stream.write_all(text.as_bytes()).is_ok();
    match fault {
        Fault::None => return say(&whole),
        Fault::Chunks => return say(&format!("{chunked}0\r\nx-trailer: a\r\n\r\n")),
        Fault::Interim => return say(&format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{whole}")),
        Fault::Drip => return whole.as_bytes().iter().all(|byte| stream.write_all(&[*byte]).is_ok()),
        Fault::Poison => return say(&format!("{whole}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")),
        Fault::UntilClose => say(&format!("HTTP/1.1 200 OK\r\n\r\n{answer}")),
        Fault::LateClose | Fault::Early => say(&whole),
        Fault::Refuse | Fault::CloseAtOnce | Fault::CloseAfterRequest => true,
        Fault::HalfHead => say("HTTP/1.1 200 OK\r\ncontent-le"),
        Fault::Garbage => say("\u{1}\u{2}\u{3}\r\n\r\n"),
        Fault::Http09 => say(answer),
        Fault::EndlessInterim => endless(stream, "", "HTTP/1.1 100 Continue\r\n\r\n"),
        Fault::GiantHead => say(&with(&format!("x: {}", "y".repeat(100_000)))),
        Fault::ManyHeaders => say(&with(&["x: y"; 300].join("\r\n"))),
        Fault::TwoLengths => say(&with(&format!("content-length: {length}"))),
        Fault::LengthAndChunks => say(&with("transfer-encoding: chunked")),
        Fault::TwoCodings => {
            say(&chunked.replace("chunked\r\n", "chunked\r\ntransfer-encoding: chunked\r\n"))
        }
        Fault::ChunksInHttp10 => say(&format!("{}0\r\n\r\n", chunked.replace("HTTP/1.1", "HTTP/1.0"))),
        Fault::BadStatus => say(&whole.replace("200", "999")),
        Fault::Switch => say("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        Fault::Splitting => say(&with("x: a\rset-cookie: b=c")),
        Fault::Nul => say(&with("x: a\0b")),
        Fault::HalfBody => say(&promised),
        Fault::HalfChunks => say(&chunked),
        Fault::BadChunkSize => say(&format!("{chunked}zz\r\n")),
        Fault::LongChunk => say(&format!("{chunked}1\r\nxyz\r\n0\r\n\r\n")),
        Fault::EndlessExtension => endless(stream, &format!("{chunked}1;"), "name=value;"),
        Fault::EndlessTrailers => endless(stream, &format!("{chunked}0\r\n"), "x: y\r\n"),
        Fault::EndlessZeros => endless(stream, &chunked, "0000000000000000"),
        Fault::ResetAfterHead | Fault::ResetInBody => {
            let is_said = fault == Fault::ResetAfterHead || say(&promised);
            SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            is_said
        }
        Fault::Stall | Fault::StallInBody => {
            let is_said = fault == Fault::Stall || say(&promised);
            is_said && wait_for_the_end(stream)
        }
    };
    false
}

/// Says one thing and then another for as long as anybody listens.
fn endless(stream: &mut TcpStream, first: &str, again: &str) -> bool {
    let again = again.repeat(64);
    let is_heard = |text: &str, stream: &mut TcpStream| stream.write_all(text.as_bytes()).is_ok();
    is_heard(first, stream) && (0..100_000).all(|_| is_heard(&again, stream))
}

/// Until the other side closes.
fn wait_for_the_end(stream: &mut TcpStream) -> bool {
    let mut waste = [0; 1024];
    loop {
        match stream.read(&mut waste) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
}
