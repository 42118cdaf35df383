//! What Amazon's APIs share on every port: who signed a request, and how one is signed.

mod canonical;
mod keyring;
mod signature;

pub use keyring::Keyring;
pub use signature::{Claim, Request, Scope, SignatureError, leaves_body_out, sign, verify};
