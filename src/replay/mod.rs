//! What a plan would have decided, and when, over outcomes that were recorded before.
//!
//! Pure: a plan and a [`Recording`] go in, a [`Replay`] comes out. The engine, the alarms and the meters are the real ones, in virtual time
//! that jumps from one outcome to the next; only the instances, their readiness and their draining are left out. `file` is the recording's
//! format, `stage` says how one recording gives a blue and a green, `run` plays it, `tokens` has what it tells of streams, `aa` plays blue against itself many times over, and
//! `behaviour` tells what the traffic is like.
//!
//! **What it cannot know**: requests that were open when the recording was taken are not in it. A green that hangs is seen once its
//! requests have ended. What happens to the traffic because of a decision, such as an instance that is relieved by a rollback, is not in
//! it either.

mod aa;
mod behaviour;
mod file;
mod late;
mod report;
mod run;
mod stage;
#[cfg(test)]
mod tests;
mod tokens;

pub use aa::{Aa, Interval, MOST_SPLITS, Splits, play_splits};
pub use behaviour::{Behaviour, Stretch, behaviour};
pub use file::{Entry, FileError, MOST_BYTES, Recording};
pub use report::{AlarmAtEnd, End, Played, Replay, StepEnd, StepReplay};
pub use run::play;
pub use stage::{Choice, Source, Stage, StageError};
