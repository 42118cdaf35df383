//! Whether a silent client is still there.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Sleep, sleep};

/// How often a silent connection is asked whether it is still there, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Looks after one connection.
#[derive(Debug)]
pub(super) struct Life {
    pings: PingPong,
    next_look: Pin<Box<Sleep>>,
    /// What had been heard at the last look.
    heard: u64,
    /// Whether the client was asked then.
    is_asked: bool,
}

impl Life {
    pub(super) fn new(pings: PingPong) -> Self {
        Self { pings, next_look: Box::pin(sleep(PING_INTERVAL)), heard: 0, is_asked: false }
    }

    /// Ready when the client is gone. `heard` is a count that changes with whatever comes.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>, heard: u64) -> Poll<()> {
        while self.next_look.as_mut().poll(context).is_ready() {
            let is_silent = self.heard == heard;
            self.heard = heard;
            if is_silent && self.is_asked {
                return Poll::Ready(());
            }
            // Takes note of the answer to the last question, without which there is none further. That anything comes is an answer too.
            let _answered = self.pings.poll_pong(context).is_ready();
            self.is_asked = is_silent && self.pings.send_ping(Ping::opaque()).is_ok();
            self.next_look.set(sleep(if self.is_asked { PING_TIMEOUT } else { PING_INTERVAL }));
        }
        Poll::Pending
    }
}
