//! Requests that must be signed (AWS Signature Version 4), and whether they are.
//!
//! The signature is of the request as its client sent it, so it is looked at before anything is left out or rewritten. It covers the body,
//! unless the client says that it does not: then the body streams, else all of it is read first, within the bound of what a worker keeps
//! of bodies. A request that comes another way to an endpoint of SageMaker's API, by a path that only reads like one of it, is looked at once
//! its endpoint is known.

use std::rc::Rc;

use http::{HeaderMap, Method, Uri, request};

use super::{
    caller::Caller, error::Failure, forwarded::Door, incoming::Incoming, peek, settings::Signers,
    upload::Early, worker::Worker,
};
use crate::{
    aws::{self, Claim, Keyring, SignatureError},
    clock,
    route::Limits,
};

/// What stands in the scope of a signature for this API.
const SERVICE: &str = "sagemaker";

/// Bytes of a body that wait for their signature's check and for their way upstream; given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    worker: Rc<Worker>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.worker.give_replay_room(self.bytes);
    }
}

/// The keys that a request of this caller must be signed with, if it must.
pub(super) fn keyring(caller: &Caller) -> Option<&Keyring> {
    let amazon = caller.worker().settings.amazon.as_ref()?;
    let is_asked = match (amazon.signers, caller.client.downstream().door()) {
        (Signers::All, _) | (Signers::Admin, Door::Admin) => true,
        (Signers::Admin, Door::Data) => false,
    };
    amazon.keyring.as_deref().filter(|_| is_asked)
}

/// Makes sure that one of the keys has signed the request, if one must.
pub(super) async fn demand(
    caller: &Rc<Caller>,
    head: &request::Parts,
    limits: &Limits,
    incoming: &mut Incoming,
    early: &mut Early,
) -> Result<(), Failure> {
    match keyring(caller) {
        Some(keyring) if !early.is_signed => {
            // Boxed, so that requests that nobody need sign carry no room for it.
            Box::pin(check(caller, keyring, head, limits.body_limit_bytes, incoming, early)).await
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether one of these keys has signed the request. What was read of its body is in `early`, and goes first from here on.
pub(super) async fn check(
    caller: &Rc<Caller>,
    keyring: &Keyring,
    head: &request::Parts,
    limit_bytes: u64,
    incoming: &mut Incoming,
    early: &mut Early,
) -> Result<(), Failure> {
    let secret = |id: &str| keyring.secret(id);
    let claim = Claim::read(&head.headers, clock::wall(), &[SERVICE], secret).map_err(Failure::Unsigned)?;
    if aws::leaves_body_out(&head.headers) {
        return verify(claim, head, &[]);
    }
    let mut room = Room { worker: Rc::clone(caller.worker()), bytes: 0 };
    peek::whole(caller, limit_bytes, incoming, early, |bytes| room.grow(bytes)).await?;
    early.join();
    let verified = verify(claim, head, early.frames.front().map_or(&[], |body| body));
    early.room = Some(Box::new(room));
    verified
}

impl Room {
    fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.worker.take_replay_room(bytes);
        if fits {
            self.bytes += bytes;
        }
        fits
    }
}

fn verify(claim: Claim<'_>, head: &request::Parts, body: &[u8]) -> Result<(), Failure> {
    let request::Parts { method, uri, headers, .. } = head;
    match claim.check(&request(method, uri, headers, body)) {
        Ok(_key) => Ok(()),
        Err(error) => Err(Failure::Unsigned(error)),
    }
}

fn request<'a>(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap, body: &'a [u8]) -> aws::Request<'a> {
    let query = uri.query().unwrap_or_default();
    aws::Request { method: method.as_str(), path: uri.path(), query, headers, body }
}

/// What the client did wrong, if that is what a request failed by.
pub(super) fn defect(failure: &Failure) -> Option<&SignatureError> {
    if let Failure::Unsigned(error) = failure { Some(error) } else { None }
}
