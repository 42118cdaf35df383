//! Reads HTTP/1 as strictly as can be: what the plane says must leave no question.

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
};

use super::kit::{Answer, Seen};

/// Reads HTTP/1 messages, refusing whatever is not exactly right.
pub(super) struct MessageReader {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Of the last message.
    trailers: Vec<(String, String)>,
    pub(super) is_reset: bool,
}

impl MessageReader {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new(), trailers: Vec::new(), is_reset: false }
    }

    /// More bytes into the buffer; `false` at the end of the connection.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for too long; so far: {:?}", String::from_utf8_lossy(&self.buffer))
            }
            Err(_) => {
                self.is_reset = true;
                false
            }
        }
    }

    pub(super) fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..length).collect())
    }

    fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.take(end + 2)?;
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    pub(super) fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(head);
            }
            head.push_str(&line);
            head.push('\n');
        }
    }

    /// The body that these headers promise, and whether it came whole.
    fn body(&mut self, headers: &[(String, String)], without: Until) -> (Vec<u8>, bool) {
        let values = |name: &str| -> Vec<&String> {
            headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        match (&lengths[..], &codings[..]) {
            ([], []) if without == Until::Close => (self.rest(), true),
            ([], []) => (Vec::new(), true),
            ([length], []) => {
                let length = length.parse().expect("a Content-Length that is a number");
                match self.take(length) {
                    Some(body) => (body, true),
                    None => (std::mem::take(&mut self.buffer), false),
                }
            }
            ([], [coding]) if *coding == "chunked" => self.chunks(),
            other => panic!("a message framed in more than one way: {other:?}"),
        }
    }

    fn chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Some(size) = self.line() else { return (body, false) };
            let size = usize::from_str_radix(&size, 16).expect("a chunk size and no extension");
            if size == 0 {
                let trailers = self.head();
                self.trailers = trailers.iter().flat_map(|lines| lines.lines()).map(header).collect();
                return (body, trailers.is_some());
            }
            let Some(chunk) = self.take(size + 2) else {
                body.append(&mut self.buffer);
                return (body, false);
            };
            assert!(chunk.ends_with(b"\r\n"), "a chunk ends with a line end");
            body.extend_from_slice(&chunk[..size]);
        }
    }

    pub(super) fn request(&mut self) -> Option<Seen> {
        let head = self.head()?;
        self.request_with(&head)
    }

    /// The request that begins with this head.
    pub(super) fn request_with(&mut self, head: &str) -> Option<Seen> {
        let (line, headers) = split(head);
        let (body, is_whole) = self.body(&headers, Until::Head);
        let trailers = std::mem::take(&mut self.trailers);
        is_whole.then_some(Seen { line, headers, body, trailers, connection: 0 })
    }

    pub(super) fn response(&mut self, method: &str) -> Option<Answer> {
        let (line, headers) = split(&self.head()?);
        let status: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
        let (body, is_whole) = if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            (Vec::new(), true)
        } else {
            self.body(&headers, Until::Close)
        };
        let trailers = std::mem::take(&mut self.trailers);
        Some(Answer { status, headers: headers.into_iter().collect(), body, trailers, is_whole })
    }
}

/// Where a body without a length ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Head,
    Close,
}

fn split(head: &str) -> (String, Vec<(String, String)>) {
    let mut lines = head.lines();
    let first = lines.next().unwrap().to_owned();
    (first, lines.map(header).collect())
}

fn header(line: &str) -> (String, String) {
    let (name, value) = line.split_once(": ").or_else(|| line.split_once(':')).expect("name: value");
    assert_eq!(name.trim(), name, "no space around a header's name");
    (name.to_ascii_lowercase(), value.to_owned())
}
