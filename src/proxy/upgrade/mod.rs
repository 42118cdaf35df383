//! Upgrades: requests that turn their connection into a tunnel, most of them WebSockets.
//!
//! 1. `ask` reads from a request's head what it wants to switch to: by `Upgrade` in HTTP/1.1, by extended CONNECT in HTTP/2
//!    (RFC 8441). What the endpoint does not allow is ignored, as HTTP has it, or refused where there is nothing else to answer.
//! 2. The instance is asked in its own protocol, whichever the client's is. In HTTP/1.1 a 101 counts only as the answer to such a request,
//!    with the protocol that was asked for, and for WebSockets with the proof that it understood (`websocket`): a cache, a health check
//!    or a proxy behind that merely repeats a status cannot open a tunnel. In HTTP/2 the instance has said in its settings that it
//!    knows extended CONNECT, and any success is its consent. One that does not know it gets no such request: an ordinary GET
//!    in its place would be answered with something that the client did not ask for.
//! 3. Only then do bytes pass unseen, both ways in one task, through two pipes with one buffer each (`pipe`, `tunnel`), whatever carries them (`end`): a connection, or
//!    a stream (`duplex`) of one that others share. What the client
//!    sent before that waits; if the answer is another one, it is the next request and goes through the gate.
//!
//! The request's exchange lasts as long as its tunnel: it is in flight on its instance, so its fleet drains and a worker waits for
//! it, up to their deadlines. It is bounded by the endpoint's idle timeout and the lifetime of
//! upgrades, and its latency is the handshake's. It stays with the fleet that it was dealt to, whatever the split becomes.

mod ask;
mod duplex;
mod end;
mod instance;
mod pipe;
mod tunnel;
mod websocket;

pub(super) use ask::Ask;
pub(super) use duplex::Duplex;
pub(super) use end::End;
pub(super) use instance::{Instance, Switched};
pub(super) use tunnel::Tunnel;
#[cfg(test)]
pub(super) use websocket::{accept, key};
