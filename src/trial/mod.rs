//! Green on trial: all alarms of a shift at work, and what they say together.
//!
//! The same code judges a green that serves (`control` looks at live meters) and one that is judged after the fact (`replay`, over recorded
//! outcomes), so that a replay cannot say anything else than the shift would have said. [`Trial`] feeds the three books of alarms and turns
//! their standings into the engine's words; `words` and `periods` put their numbers into sentences.

mod bench;
mod periods;
mod words;

pub use bench::{Breach, Look, Meters, Trial};
pub use periods::{external_text, threshold_text, value_text};
pub use words::{cause_text, evidence_text, safety_text};
