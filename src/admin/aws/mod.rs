//! What Amazon's protocols have in common, so that their unmodified clients drive Snapback: one path, operations named by a header or a form,
//! errors with a type, constraints on every member.
//!
//! `front` takes a request apart and names the service; `caller` knows who signed it, with the `secrets` of keys; `shape` holds a request against its constraints, with the
//! `patterns` of names; a `fault` is an error as clients know it, and `dialect` writes it and the answers as the request's protocol wants, `query`
//! the one with forms and XML. `runtime` passes invocations to the data plane. What the operations do is each service's own: [`super::sagemaker`], [`super::cloudwatch`].

mod caller;
pub(super) mod dialect;
pub(super) mod fault;
pub(super) mod front;
pub(super) mod patterns;
mod query;
pub(super) mod runtime;
pub(super) mod secrets;
pub(super) mod shape;
