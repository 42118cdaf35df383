//! What Amazon's APIs share on every port: who signed a request, and how one is signed.

mod canonical;
mod signature;

pub use signature::{Request, Scope, SignatureError, sign, verify};
