//! Upgrades: requests that turn their connection into a tunnel, most of them WebSockets.
//!
//! 1. `ask` reads from a request's head what it wants to switch to: by `Upgrade` in HTTP/1.1, by extended CONNECT in HTTP/2
//!    (RFC 8441). What the endpoint does not allow is ignored, as HTTP has it, or refused where there is nothing else to answer.
//! 2. The instance is asked by `Upgrade` in either case. One that speaks HTTP/2 is not asked, and what it answers is an ordinary answer: the
//!    instance's side of a tunnel is a connection that no other request shares. A 101 counts only as the answer to such a request, with
//!    the protocol that was asked for, and for WebSockets with the proof that it understood (`websocket`): a cache, a health check or
//!    a proxy behind that merely repeats a status cannot open a tunnel.
//! 3. Only then do bytes pass unseen, both ways in one task, through two pipes with one buffer each (`pipe`, `tunnel`), whatever carries them (`end`). What the client
//!    sent before that waits; if the answer is another one, it is the next request and goes through the gate.
//!
//! The request's exchange lasts as long as its tunnel: it is in flight on its instance, so its fleet drains and a worker waits for
//! it, up to their deadlines. It is bounded by the endpoint's idle timeout alone, and its latency is the handshake's. It stays with the fleet that it was dealt to, whatever the split becomes.

mod ask;
mod end;
mod pipe;
mod tunnel;
mod websocket;

pub(super) use ask::Ask;
pub(super) use end::End;
pub(super) use tunnel::Tunnel;
#[cfg(test)]
pub(super) use websocket::{accept, key};
