//! HTTP/2 with clients, on the h2 crate.
//!
//! hyper has a server on the same crate, and it is not used: it cannot ask a client for a body that is waited to be asked for (100), takes a
//! request that its client has given up for a complete one where the reset says NO_ERROR, copies what goes through a tunnel into
//! a buffer of its own for each write, and keeps a request's whole future for as long as its response lasts.
//!
//! `connection` accepts streams and ends the connection, `turn` writes what they have to say, and `life` asks a silent client whether it is
//! still there. Each stream has a task (`stream`) and is a caller of its own: a request with its body (`body`), then a response (`reply`), or a
//! tunnel (`upgrade`).
//!
//! A head that is more than twice as large as it may be never gets here: the h2 crate answers it with a bare 431 and resets the stream, without
//! a word to whoever uses it. Others that are too large are answered and counted by the gate, as in HTTP/1.

mod body;
mod connection;
mod life;
mod reply;
mod stream;
mod turn;

pub(super) use body::Body;
pub(super) use connection::serve;
