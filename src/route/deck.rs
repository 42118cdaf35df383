//! Which fleet takes a request: permuted blocks.
//!
//! A coin for each request would be exact only in the long run: at 1 % and 300 requests one shift in twenty would see no green
//! request at all. A block of cards that holds exactly the share makes the weight true after every block, and stays random inside
//! it, so that no client's rhythm can fall in step with green.
//!
//! The block is never stored. With `g` green cards among `r` left, the next card is green with probability `g/r`: sampling without
//! replacement, which deals every order of the block with the same probability.

use rand::{Rng, RngExt};

use super::Split;
use crate::{fleet::Side, weight::Share};

/// The least number of cards in a block. The smallest block of 50 % has two cards, of which the second is known once the first is
/// dealt; ten such pairs shuffled together tell a client next to nothing about its next card. A larger number would only let
/// the share go astray for longer.
const LEAST_CARDS: u32 = 20;

/// A worker's deck for one endpoint. Each block of draws holds exactly the split's share of green, in random order; a change of
/// split starts a new deck.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deck {
    epoch: u64,
    cards_left: u32,
    green_left: u32,
}

impl Deck {
    /// Draws a fleet. Shares of nothing and of everything, and the last cards of a block that are all of one colour, need no
    /// randomness and take none.
    pub fn deal(&mut self, split: Split, rng: &mut impl Rng) -> Side {
        if self.epoch != split.epoch || self.cards_left == 0 {
            *self = Self::shuffled(split);
        }
        // Two comparisons before each draw; they also hold the promise of a share of nothing should an epoch ever be forgotten.
        if split.green == Share::NONE || self.green_left == 0 {
            self.cards_left -= 1;
            return Side::Blue;
        }
        if self.green_left == self.cards_left || rng.random_range(0..self.cards_left) < self.green_left {
            self.green_left -= 1;
            self.cards_left -= 1;
            return Side::Green;
        }
        self.cards_left -= 1;
        Side::Blue
    }

    /// The smallest block that holds the share exactly, as many times as needed to have [`LEAST_CARDS`].
    fn shuffled(split: Split) -> Self {
        let (points, whole) = (u32::from(split.green.basis_points()), u32::from(Share::WHOLE));
        let common = greatest_common_divisor(points, whole);
        let (cards, green) = (whole / common, points / common);
        let times = LEAST_CARDS.div_ceil(cards);
        Self { epoch: split.epoch, cards_left: cards * times, green_left: green * times }
    }
}

fn greatest_common_divisor(left: u32, right: u32) -> u32 {
    if left == 0 { right } else { greatest_common_divisor(right % left, left) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use rand::{SeedableRng, TryRng, rngs::StdRng};

    use super::*;

    /// A source of randomness that must not be asked.
    struct Untouched;

    impl TryRng for Untouched {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            panic!("randomness was asked for")
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            panic!("randomness was asked for")
        }

        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
            panic!("randomness was asked for")
        }
    }

    fn split(points: u16, epoch: u64) -> Split {
        Split { green: Share::from_basis_points(points).unwrap(), epoch }
    }

    fn greens(deck: &mut Deck, split: Split, draws: u32, rng: &mut impl Rng) -> u32 {
        (0..draws).map(|_| u32::from(deck.deal(split, rng) == Side::Green)).sum()
    }

    fn block(points: u16) -> (u32, u32) {
        let Deck { cards_left, green_left, .. } = Deck::shuffled(split(points, 0));
        (cards_left, green_left)
    }

    #[test]
    fn a_block_is_the_smallest_that_is_exact_and_has_twenty_cards() {
        let cases =
            [(1, 10_000, 1), (25, 400, 1), (100, 100, 1), (500, 20, 1), (1_000, 20, 2), (5_000, 20, 10)];
        for (points, cards, green) in cases {
            assert_eq!(block(points), (cards, green), "{points} basis points");
        }
    }

    proptest! {
        #[test]
        fn every_block_of_every_share_is_exact(points in 0_u16..=10_000, seed: u64) {
            let (mut deck, mut rng) = (Deck::default(), StdRng::seed_from_u64(seed));
            let (cards, green) = block(points);
            prop_assert_eq!(u64::from(green) * 10_000, u64::from(cards) * u64::from(points));
            for _ in 0..3 {
                prop_assert_eq!(greens(&mut deck, split(points, 7), cards, &mut rng), green);
            }
        }

        #[test]
        fn a_new_epoch_starts_a_new_deck(
            before in 0_u16..=10_000,
            after in 0_u16..=10_000,
            drawn in 0_u32..300,
            seed: u64,
        ) {
            let (mut deck, mut rng) = (Deck::default(), StdRng::seed_from_u64(seed));
            greens(&mut deck, split(before, 1), drawn, &mut rng);
            let (cards, green) = block(after);
            prop_assert_eq!(greens(&mut deck, split(after, 2), cards, &mut rng), green);
        }

        #[test]
        fn after_a_change_to_nothing_green_gets_nothing(before in 0_u16..=10_000, drawn in 0_u32..300, seed: u64) {
            let (mut deck, mut rng) = (Deck::default(), StdRng::seed_from_u64(seed));
            greens(&mut deck, split(before, 1), drawn, &mut rng);
            prop_assert_eq!(greens(&mut deck, split(0, 2), 1_000, &mut Untouched), 0);
        }
    }

    #[test]
    fn nothing_and_everything_take_no_randomness() {
        assert_eq!(greens(&mut Deck::default(), split(0, 1), 100, &mut Untouched), 0);
        assert_eq!(greens(&mut Deck::default(), split(10_000, 1), 100, &mut Untouched), 100);
    }

    #[test]
    fn the_green_card_of_a_block_comes_at_every_place_equally_often() {
        let (mut deck, mut rng) = (Deck::default(), StdRng::seed_from_u64(11));
        let mut places = [0_u32; 20];
        for _ in 0..20_000 {
            let dealt: Vec<Side> = (0..20).map(|_| deck.deal(split(500, 1), &mut rng)).collect();
            places[dealt.iter().position(|side| *side == Side::Green).unwrap()] += 1;
        }
        // 1,000 expected at each place, with a standard deviation of 31: five of them either way.
        assert!(places.iter().all(|count| (845..1_155).contains(count)), "{places:?}");
    }

    #[test]
    fn every_order_of_a_block_occurs() {
        let (mut deck, mut rng) = (Deck::default(), StdRng::seed_from_u64(12));
        let mut orders = std::collections::HashSet::new();
        for _ in 0..4_000 {
            orders.insert((0..20).map(|_| deck.deal(split(1_000, 1), &mut rng)).collect::<Vec<_>>());
        }
        assert_eq!(orders.len(), 190, "two green cards among twenty have 190 orders");
    }
}
