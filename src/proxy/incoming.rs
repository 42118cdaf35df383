//! The body of a request as it comes from a client, over either protocol.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::{http1, http2};

/// The body of a request as it comes.
#[derive(Debug)]
pub(super) enum Incoming {
    /// There is none.
    None,
    Http1(http1::Body),
    Http2(http2::Body),
}

/// It is malformed, or the client went away.
#[derive(Debug)]
pub(super) struct Broken;

impl Incoming {
    /// Whether nothing more comes.
    pub(super) fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    /// The next part, or the trailers; `None` after the last.
    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self {
            Self::None => Poll::Ready(None),
            Self::Http1(body) => body.poll_frame(context),
            Self::Http2(body) => body.poll_frame(context),
        }
    }
}
