//! How a recording gives a blue and a green.
//!
//! Traffic comes as it was recorded, and the plan's share says how it divides. Where a recording holds both fleets, requests keep the
//! fleet that they had: where the recorded share is the plan's, all of them count; where it is another, of the fleet that has too many a
//! random part is left out, so that green's share of what is left is the plan's. After the recorded shift, what serves is green with
//! everything where it was promoted, and blue where it was not. Nothing is used twice: what was not recorded is not made up, and a plan that
//! wants more than there is stays undecided.

use rand::{RngExt, rngs::StdRng};

use super::{Entry, Recording};
use crate::{
    alarm::Dealing,
    fleet::Side,
    meter::Rescue,
    name::{ShiftId, Version},
    route::{Deck, Split},
    time::Moment,
    weight::Share,
};

/// Which outcomes are green's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Of this shift; `None` for the last in the recording.
    pub shift: Option<&'a ShiftId>,
    /// Those of another recording.
    pub green_from: Option<&'a Recording>,
    /// Blue against itself, whatever else the recording holds.
    pub against_itself: bool,
}

/// Where green's outcomes come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Both fleets are in the recording.
    AsRecorded,
    /// Green's are another recording's, one after the other.
    Other,
    /// One fleet's outcomes are dealt to both: a green that is as good as blue.
    Split,
}

/// What a plan is played over.
#[derive(Clone, Debug)]
pub struct Stage<'a> {
    source: Source,
    dealing: Dealing,
    /// Blue's outcomes before the shift.
    history: Vec<&'a Entry>,
    arrivals: Vec<&'a Entry>,
    green: Vec<&'a Entry>,
    /// Green's share where the entries do not say it.
    fallback: Share,
    /// What green served in the shift whose outcomes these are, if they say both.
    promoted: Option<&'a Version>,
    assumptions: Vec<String>,
}

/// Why there is nothing to play a plan over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// No outcome at all.
    #[error("the recording is empty: there is nothing to play the plan over")]
    Empty,
    /// Not that shift's.
    #[error("the recording has no outcome of green in shift {wanted}; it has {}", known_shifts(.known))]
    NoShift {
        /// As asked.
        wanted: ShiftId,
        /// Those in the recording.
        known: Vec<ShiftId>,
    },
    /// The recording that green's outcomes should come from has none.
    #[error("the recording for green is empty")]
    NoGreen,
    /// Only green's are there.
    #[error("the recording has no outcome of blue, so there is nothing to set against itself")]
    NoBlue,
}

/// Deals one play's requests.
#[derive(Debug)]
pub(super) struct Dealer<'s> {
    stage: &'s Stage<'s>,
    rng: StdRng,
    deck: Deck,
    next_green: usize,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dealt<'s> {
    /// It goes to this fleet and comes to this.
    To(Side, &'s Entry),
    /// It is left out.
    LeftOut,
    /// Green's outcomes are used up.
    UsedUp,
}

impl<'a> Stage<'a> {
    /// Sorts a recording's outcomes for a play.
    pub fn new(recording: &'a Recording, choice: Choice<'a>) -> Result<Self, StageError> {
        let Choice { shift, green_from, against_itself } = choice;
        let entries = &recording.entries;
        if entries.is_empty() {
            return Err(StageError::Empty);
        }
        let has_both = [Side::Blue, Side::Green]
            .iter()
            .all(|side| entries.iter().any(|entry| entry.record.side == *side && is_dealt(entry)));
        match (green_from, against_itself) {
            (Some(green), _) => Self::with_green_of(recording, green),
            (None, true) => Self::against_itself(recording),
            (None, false) if has_both || shift.is_some() => Self::as_recorded(recording, shift),
            (None, false) => Ok(Self::split(entries.iter().filter(|entry| is_dealt(entry)).collect())),
        }
    }

    fn as_recorded(recording: &'a Recording, wanted: Option<&ShiftId>) -> Result<Self, StageError> {
        let entries = &recording.entries;
        let greens = || entries.iter().filter(|entry| entry.record.side == Side::Green && is_dealt(entry));
        let known = known(greens());
        if let Some(wanted) = wanted
            && !known.contains(wanted)
        {
            return Err(StageError::NoShift { wanted: wanted.clone(), known });
        }
        let shift = wanted.or(known.last());
        let is_of_it = |entry: &&Entry| entry.shift.as_ref() == shift;
        // Without a shift's name, it begins with green's first request.
        let first = entries.iter().position(|entry| match shift {
            Some(_) => is_of_it(&entry),
            None => entry.record.side == Side::Green,
        });
        let (before, from) = entries.split_at(first.unwrap_or(0));
        let is_of_another =
            |entry: &Entry| shift.is_some() && entry.shift.is_some() && entry.shift.as_ref() != shift;
        let arrivals: Vec<&Entry> = from.iter().take_while(|entry| !is_of_another(entry)).collect();
        let its_own = || arrivals.iter().filter(|entry| is_of_it(entry));
        let greens = || its_own().filter(|entry| entry.record.side == Side::Green);
        let fallback = fraction(greens().count(), its_own().count());
        let promoted = greens().next().and_then(|entry| entry.version.as_ref()).filter(|_| shift.is_some());
        let of_which = match shift {
            Some(shift) if known.len() > 1 => {
                format!(
                    "green's outcomes are those of shift {shift}, one of {} in the recording",
                    known.len()
                )
            }
            Some(shift) => format!("green's outcomes are those of shift {shift}"),
            None => format!("green's outcomes are those that the recording calls green's, {fallback} of all"),
        };
        let afterwards = promoted.filter(|green| {
            arrivals.iter().any(|entry| entry.shift.is_none() && entry.version.as_ref() == Some(*green))
        });
        let afterwards = afterwards.map(|green| {
            format!("the shift was promoted: what {green} answered after it counts as green's, with a share of 100%")
        });
        let mut assumptions = vec![
            format!(
                "{of_which}: requests keep the fleet that they had, and where the recorded share is not the plan's, a random part of one \
                 fleet's is left out"
            ),
            "a slower or faster green than the recorded one would have shifted what came after it; that is not in here".to_owned(),
        ];
        assumptions.extend(afterwards);
        Ok(Self {
            source: Source::AsRecorded,
            dealing: recording.dealing,
            history: before
                .iter()
                .filter(|entry| entry.record.side == Side::Blue && is_dealt(entry))
                .collect(),
            arrivals,
            green: Vec::new(),
            fallback,
            promoted,
            assumptions,
        })
    }

    fn with_green_of(recording: &'a Recording, other: &'a Recording) -> Result<Self, StageError> {
        let dealt = || other.entries.iter().filter(|entry| is_dealt(entry));
        let mut green: Vec<&Entry> = dealt().filter(|entry| entry.record.side == Side::Green).collect();
        if green.is_empty() {
            green = dealt().collect();
        }
        if green.is_empty() {
            return Err(StageError::NoGreen);
        }
        let arrivals = blues(recording);
        if arrivals.is_empty() {
            return Err(StageError::NoBlue);
        }
        Ok(Self {
            source: Source::Other,
            assumptions: vec![format!(
                "requests come as blue's came and are dealt by the plan's share; green's outcomes are the {} of the other recording, one \
                 after the other, whenever they happened there",
                green.len()
            )],
            green,
            ..Self::split(arrivals)
        })
    }

    fn against_itself(recording: &'a Recording) -> Result<Self, StageError> {
        let blue = blues(recording);
        if blue.is_empty() { Err(StageError::NoBlue) } else { Ok(Self::split(blue)) }
    }

    fn split(arrivals: Vec<&'a Entry>) -> Self {
        Self {
            source: Source::Split,
            dealing: Dealing::Deck,
            history: Vec::new(),
            arrivals,
            green: Vec::new(),
            fallback: Share::NONE,
            promoted: None,
            assumptions: vec![
                "one fleet's outcomes are dealt to blue and green by the plan's share: a green that is as good as blue".to_owned(),
            ],
        }
    }

    /// Where green's outcomes come from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// How green and blue came to be, in a sentence each.
    pub fn assumptions(&self) -> &[String] {
        &self.assumptions
    }

    /// What comes while the plan is played, in order.
    pub fn arrivals(&self) -> &[&'a Entry] {
        &self.arrivals
    }

    /// The fleet that a recorded request belongs to, and green's share at that moment.
    fn recorded(&self, entry: &Entry) -> (Side, Share) {
        match (self.promoted, &entry.shift) {
            (Some(green), None) if entry.version.as_ref() == Some(green) => (Side::Green, Share::ALL),
            (Some(_), None) => (Side::Blue, Share::NONE),
            (_, _) => (entry.record.side, entry.share.unwrap_or(self.fallback)),
        }
    }

    pub(super) fn history(&self) -> &[&'a Entry] {
        &self.history
    }

    pub(super) fn dealing(&self) -> Dealing {
        self.dealing
    }

    /// When the plan begins, and when the last request comes.
    pub(super) fn bounds(&self) -> (Moment, Moment) {
        let at = |entry: Option<&&Entry>| entry.map(|entry| entry.record.dealt_at).unwrap_or_default();
        (at(self.arrivals.first()), at(self.arrivals.last()))
    }
}

impl<'s> Dealer<'s> {
    pub(super) fn new(stage: &'s Stage<'s>, rng: StdRng) -> Self {
        Self { stage, rng, deck: Deck::default(), next_green: 0 }
    }

    /// Deals the request under this split.
    pub(super) fn deal(&mut self, entry: &'s Entry, split: Split) -> Dealt<'s> {
        match self.stage.source {
            Source::AsRecorded => {
                let (side, recorded) = self.stage.recorded(entry);
                let chance = chance_to_stay(side, recorded, split.green);
                if chance >= 1.0 || (chance > 0.0 && self.rng.random::<f64>() < chance) {
                    Dealt::To(side, entry)
                } else {
                    Dealt::LeftOut
                }
            }
            Source::Split => Dealt::To(self.deck.deal(split, &mut self.rng), entry),
            Source::Other => match self.deck.deal(split, &mut self.rng) {
                Side::Blue => Dealt::To(Side::Blue, entry),
                Side::Green => {
                    let green = self.stage.green.get(self.next_green);
                    self.next_green += 1;
                    green.map_or(Dealt::UsedUp, |green| Dealt::To(Side::Green, green))
                }
            },
        }
    }
}

/// The part of a fleet's requests that stays, so that green's share of what is left is the wanted one. Moments without a blue have none
/// to leave out: there green's requests come at the rate at which the plan would have given it some.
fn chance_to_stay(side: Side, recorded: Share, wanted: Share) -> f64 {
    if recorded == wanted {
        return 1.0;
    }
    let (had, wants) = (recorded.as_fraction(), wanted.as_fraction());
    let green = wants * (1.0 - had);
    let blue = had * (1.0 - wants);
    match side {
        Side::Green if recorded == Share::ALL => wants,
        Side::Green if blue <= green => 1.0,
        Side::Green => green / blue,
        Side::Blue if green <= blue => 1.0,
        Side::Blue => blue / green,
    }
}

/// Whether it is a request of its own. What blue makes of a rescue is told beside green's failure.
fn is_dealt(entry: &Entry) -> bool {
    entry.record.rescue != Some(Rescue::Failed)
}

fn blues(recording: &Recording) -> Vec<&Entry> {
    let blue = |entry: &&Entry| entry.record.side == Side::Blue && is_dealt(entry);
    recording.entries.iter().filter(blue).collect()
}

/// The shifts of these, in the order in which they began.
fn known<'a>(greens: impl Iterator<Item = &'a Entry>) -> Vec<ShiftId> {
    let mut known: Vec<ShiftId> = Vec::new();
    for shift in greens.filter_map(|entry| entry.shift.as_ref()) {
        if known.last() != Some(shift) && !known.contains(shift) {
            known.push(shift.clone());
        }
    }
    known
}

fn known_shifts(known: &[ShiftId]) -> String {
    let names: Vec<_> = known.iter().map(ShiftId::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn fraction(part: usize, whole: usize) -> Share {
    let points = part * usize::from(Share::WHOLE) / whole.max(1);
    u16::try_from(points).ok().and_then(|points| Share::from_basis_points(points).ok()).unwrap_or_default()
}
