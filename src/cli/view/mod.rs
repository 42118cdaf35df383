//! A shift for people: the live view of a terminal, and the same in plain lines.
//!
//! Drawing is a pure function of a shift's representation and a [`ViewState`]: nothing here reads a clock, a key or a socket, so
//! that every picture can be tested, and whoever has a [`wire::Shift`] at hand can show it.

mod help;
mod live;
mod plain;
mod tables;
pub(super) mod text;
mod theme;
mod thresholds;
pub(super) mod top;
mod trend;

pub use live::{draw, render};
use plain::nearest_alarm;
pub(super) use plain::{complement, nearest, next, place, standing};
pub use plain::{line, outcome};
pub(super) use tables::bound;
pub use theme::Palette;
pub(super) use thresholds::breach;
pub use trend::Trend;

#[cfg(doc)]
use crate::admin::wire;
use crate::time::WallTime;

/// What the live view shows beside the shift itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewState {
    /// The moment that elapsed times and countdowns are told for.
    pub now: WallTime,
    /// Whether there are colours.
    pub palette: Palette,
    /// Whether the shift shown is of now.
    pub link: Link,
    /// The last row.
    pub footer: Footer,
    /// How both fleets did since the shift began.
    pub trend: Trend,
}

/// Whether the picture is current.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// It is.
    Live,
    /// The admin port does not answer.
    Lost {
        /// When it last did.
        since: WallTime,
    },
}

/// What the last row says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Footer {
    /// A sentence of the caller's; empty for none.
    Text(String),
    /// The keys that steer the shift.
    Keys,
    /// What the keys and figures mean, in place of the figures.
    Help,
    /// How the last command went.
    Notice(String),
    /// Whether to promote.
    ConfirmPromote,
    /// Whether to abort.
    ConfirmAbort,
    /// Why to abort, as far as typed.
    AbortReason(String),
}

impl ViewState {
    /// A current picture without keys.
    pub fn new(now: WallTime, palette: Palette) -> Self {
        Self { now, palette, link: Link::Live, footer: Footer::Text(String::new()), trend: Trend::default() }
    }
}

#[cfg(test)]
pub(super) mod tests;
