//! Which fleet takes a request: permuted blocks.

use rand::Rng;

use super::Split;
use crate::fleet::Side;

/// A worker's deck for one endpoint. Each block of draws holds exactly the split's share of green, in random order; a change of
/// split starts a new deck.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deck {
    epoch: u64,
    cards_left: u32,
    green_left: u32,
}

impl Deck {
    /// Draws a fleet.
    pub fn deal(&mut self, _split: Split, _rng: &mut impl Rng) -> Side {
        todo!()
    }
}
