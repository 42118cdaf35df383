//! What Amazon's APIs share on every port: who signed a request.

mod canonical;
mod signature;

pub use signature::{Request, SignatureError, verify};
