//! Carries events out of the process: to webhooks, and into a file of JSON lines.
//!
//! It has a thread of its own and reads the journal behind whoever writes it, so a receiver that hangs, or a full disk, delays no decision.
//! The journal is the queue: what is not delivered when the process ends is delivered by the next one.
//!
//! - [`start()`] makes the thread; `lanes` decides what is due, `webhook` sends it, `post` is one attempt, over the connection that `reach` makes, `sign` its signature.
//! - `file` appends to the file and rotates it; `roll` keeps its pages.
//! - `traces` sends spans, on a thread of its own.
//! - `status` is what is shown of all this.

mod bridge;
mod file;
mod lanes;
mod post;
mod reach;
mod roll;
mod sign;
mod start;
mod status;
mod traces;
mod webhook;

pub use file::last_written;
pub use sign::SecretError;
pub use start::{Delivery, Parts, Render, StartError, start};
pub use status::{FileStatus, LaneStatus, WebhookStatus, Webhooks};
pub use traces::Exporter;
