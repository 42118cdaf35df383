//! An answer as a stream of events: `application/vnd.amazon.eventstream`.
//!
//! A message is its length, its headers' length and a checksum of those two, then the headers and the payload, and a checksum of all before
//! it, all numbers big-endian (<https://smithy.io/2.0/aws/amazon-eventstream.html>). Each part of the container's body becomes a
//! message as it comes; where they begin and end means nothing.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes};
use http_body::{Body, Frame};

use crate::proxy::{body::ResponseBody, caller::Caller, error::Failure};

/// The type of such a stream.
pub(super) const MEDIA_TYPE: &str = "application/vnd.amazon.eventstream";

/// Two lengths and their checksum, and the last checksum.
const FRAME_BYTES: usize = 16;

/// The type of a header's value: a text with a length of two bytes.
const TEXT: u8 = 7;

/// Clients take no more in one message (botocore's bound is 24 MiB); a part of a body is much smaller.
const PAYLOAD_LIMIT_BYTES: usize = 1 << 20;

/// A container's answer on its way to a client as events.
#[derive(Debug)]
pub(in crate::proxy) struct EventStream {
    caller: Rc<Caller>,
    body: ResponseBody,
    /// Of a part that takes several messages.
    rest: Bytes,
    is_over: bool,
}

impl EventStream {
    pub(super) fn new(caller: &Rc<Caller>, body: ResponseBody) -> Self {
        Self { caller: Rc::clone(caller), body, rest: Bytes::new(), is_over: false }
    }

    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        self.is_over || (self.rest.is_empty() && self.body.is_end_stream())
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            if !self.rest.is_empty() {
                let length = self.rest.len().min(PAYLOAD_LIMIT_BYTES);
                let payload = self.rest.split_to(length);
                return self.say(&part(&payload), length);
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => self.rest = frame.into_data().unwrap_or_default(),
                Poll::Ready(Some(Err(failure))) => {
                    self.is_over = true;
                    return self.say(&exception(&failure), 0);
                }
                Poll::Ready(None) => self.is_over = true,
            }
        }
    }

    /// A message, of whose bytes so many were counted as handed over already.
    fn say(&self, message: &Bytes, counted: usize) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.caller.hand_over(message.len().saturating_sub(counted));
        Poll::Ready(Some(Ok(Frame::data(message.clone()))))
    }
}

fn part(payload: &[u8]) -> Bytes {
    let headers = [
        (":event-type", "PayloadPart"),
        (":content-type", "application/octet-stream"),
        (":message-type", "event"),
    ];
    message(&headers, payload)
}

/// How a stream ends that cannot end well.
fn exception(failure: &Failure) -> Bytes {
    let (kind, code) = if matches!(failure, Failure::IdleTimeout | Failure::Overlong | Failure::Deadline) {
        ("ModelStreamError", Some("ModelInvocationTimeExceeded"))
    } else if matches!(failure, Failure::Truncated(_)) {
        ("ModelStreamError", Some("StreamBroken"))
    } else {
        ("InternalStreamFailure", None)
    };
    let told = crate::proxy::answer::title(failure);
    let document = match code {
        Some(code) => serde_json::json!({ "Message": told, "ErrorCode": code }),
        None => serde_json::json!({ "Message": told }),
    };
    let headers =
        [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    message(&headers, document.to_string().as_bytes())
}

fn message(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let headers_bytes: usize = headers.iter().map(|(name, value)| 4 + name.len() + value.len()).sum();
    let total = FRAME_BYTES + headers_bytes + payload.len();
    let mut out = Vec::with_capacity(total);
    out.put_u32(number(total));
    out.put_u32(number(headers_bytes));
    out.put_u32(crc32fast::hash(&out));
    for (name, value) in headers {
        out.put_u8(u8::try_from(name.len()).expect("the names of headers are short"));
        out.put_slice(name.as_bytes());
        out.put_u8(TEXT);
        out.put_u16(u16::try_from(value.len()).expect("so are their values"));
        out.put_slice(value.as_bytes());
    }
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.into()
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a message has a bounded payload")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_framed_as_botocores_own_vector_has_it() {
        // botocore, tests/unit/test_eventstream.py: an event without payload and headers.
        let empty = message(&[], b"");
        assert_eq!(&empty[..], b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2H\xeb}\x98\xc8\xff");
        let payload = message(&[], b"{'foo':'bar'}");
        assert_eq!(&payload[..], b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'}\xc3e96");
    }

    #[test]
    fn lengths_and_checksums_of_a_part_hold() {
        let part = part(b"data: x\n\n");
        let word = |at: usize| u32::from_be_bytes(part[at..at + 4].try_into().unwrap());
        assert_eq!(usize::try_from(word(0)).unwrap(), part.len());
        assert_eq!(word(8), crc32fast::hash(&part[..8]));
        assert_eq!(word(part.len() - 4), crc32fast::hash(&part[..part.len() - 4]));
        assert!(part.windows(11).any(|window| window == b"PayloadPart"));
    }

    #[test]
    fn a_stream_that_is_cut_says_why_in_its_last_message() {
        let cut = exception(&Failure::Overlong);
        let text = String::from_utf8_lossy(&cut);
        assert!(
            text.contains("ModelStreamError")
                && text.contains("\"ErrorCode\":\"ModelInvocationTimeExceeded\"")
        );
    }
}
