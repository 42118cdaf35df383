//! What Amazon's JSON protocols have in common, so that their unmodified clients drive Snapback: one path, operations named by a header,
//! errors with a type, constraints on every member.
//!
//! `front` takes a request apart and names the service; `caller` knows who signed it; `shape` holds a request against its constraints, with the `patterns` of names; a `fault`
//! is an error as clients know it. What the operations do is each service's own: [`super::sagemaker`].

mod caller;
pub(super) mod fault;
pub(super) mod front;
pub(super) mod patterns;
pub(super) mod shape;
