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

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        io,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use bytes::Bytes;
    use h2::{client, server};
    use tokio::{
        io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
        time::{Instant, timeout},
    };

    use super::*;

    /// A stream that counts what is read of it, as a connection's transport does.
    struct Counted(DuplexStream, Arc<AtomicU64>);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let read = Pin::new(&mut self.0).poll_read(context, buffer);
            self.1.fetch_add(u64::from(read.is_ready()), Ordering::Relaxed);
            read
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    /// A client, and what keeps its connection open.
    type Client = (client::SendRequest<Bytes>, client::Connection<DuplexStream>);

    /// A connection, and its client, which does nothing until it is polled.
    async fn connected() -> (impl Future<Output = ()>, Client) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let heard = Arc::new(AtomicU64::new(0));
        let transport = Counted(ours, Arc::clone(&heard));
        let (server, client) = tokio::join!(server::handshake(transport), client::handshake(theirs));
        let (mut server, client): (server::Connection<_, Bytes>, _) = (server.unwrap(), client.unwrap());
        let mut life = Life::new(server.ping_pong().unwrap());
        let until_gone = poll_fn(move |context| {
            // It ends when its client does, which is not what is looked for here.
            let _streams = server.poll_accept(context);
            life.poll_gone(context, heard.load(Ordering::Relaxed))
        });
        (until_gone, client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_no_ping_is_gone_after_its_time_and_not_before() {
        let (until_gone, _silent) = connected().await;
        let begun = Instant::now();
        until_gone.await;
        // The first look hears what came with the greeting, the second one asks.
        assert_eq!(begun.elapsed().as_secs(), (2 * PING_INTERVAL + PING_TIMEOUT).as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_that_answers_pings_is_left_alone() {
        let (until_gone, (_sender, client)) = connected().await;
        drop(tokio::spawn(client));
        assert!(timeout(20 * PING_INTERVAL, until_gone).await.is_err());
    }
}
