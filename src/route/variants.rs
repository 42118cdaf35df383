//! Which variant takes a request, where an endpoint has several: the one that the request names, else a permuted block by weights.
//!
//! The variant is chosen first, by the weights of the fleet in service, and the fleet then from a deck of that variant's own. So
//! green's share is exact inside each variant, whatever it weighs and whoever names it.
//!
//! The choice is final, as the fleet's is: a variant none of whose instances can serve fails its requests, and does not hide that by
//! handing them to another model.

use http::HeaderMap;
use rand::{Rng, RngExt};

use super::{
    Deck, EndpointRoute,
    hash::{hash, mix},
};
use crate::fleet::Variant;

/// The most cards in a block. Weights that have no smaller common block are rounded to parts of this, each to a hundredth of a percent; a
/// larger block would be exact only after more requests than anybody looks at.
const MOST_CARDS: u64 = 10_000;

/// The least, for the reason that [`Deck`] has.
const LEAST_CARDS: u32 = 20;

/// A worker's decks for one endpoint with variants.
#[derive(Clone, Debug)]
pub struct VariantDecks {
    variants: VariantDeck,
    /// Of each variant, by its place.
    pub fleets: Vec<Deck>,
}

/// A worker's deck of variants. Each block of draws holds exactly every variant's part, in random order.
#[derive(Clone, Debug)]
pub struct VariantDeck {
    block: Vec<u32>,
    left: Vec<u32>,
    cards_left: u32,
}

/// A request names a variant that its endpoint does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownVariant;

impl VariantDecks {
    /// Of these variants.
    pub fn new(variants: &[Variant]) -> Self {
        Self { variants: VariantDeck::new(variants), fleets: vec![Deck::default(); variants.len()] }
    }

    /// Goes on with these variants. Other weights start a new deck of them; green's share of each goes on as it was.
    pub fn follow(&mut self, variants: &[Variant]) {
        let fresh = VariantDeck::new(variants);
        if fresh.block != self.variants.block {
            self.variants = fresh;
        }
        self.fleets.resize(variants.len(), Deck::default());
    }

    /// The place of the variant of a request that does not name one: its session's, else the next of the deck.
    pub fn deal(&mut self, route: &EndpointRoute, headers: &HeaderMap, rng: &mut impl Rng) -> usize {
        let of_session =
            route.session_key(headers).and_then(|key| session_variant(key, &route.blue.fleet.variants));
        of_session.unwrap_or_else(|| self.variants.deal(rng))
    }
}

impl VariantDeck {
    /// Of these variants.
    pub fn new(variants: &[Variant]) -> Self {
        let block = block(variants);
        Self { left: vec![0; block.len()], block, cards_left: 0 }
    }

    /// Draws a variant's place; the first one's where none weighs anything. Where one weighs everything it takes no randomness.
    pub fn deal(&mut self, rng: &mut impl Rng) -> usize {
        if self.cards_left == 0 {
            self.left.clone_from(&self.block);
            self.cards_left = self.block.iter().sum();
        }
        let is_alone = self.left.contains(&self.cards_left);
        let mut draw = if is_alone { 0 } else { rng.random_range(0..self.cards_left) };
        for (place, cards) in self.left.iter_mut().enumerate() {
            if draw < *cards {
                *cards -= 1;
                self.cards_left -= 1;
                return place;
            }
            draw -= *cards;
        }
        0
    }
}

impl EndpointRoute {
    /// The place of the variant that a request names; `None` where it names none.
    pub fn named_variant(&self, headers: &HeaderMap) -> Result<Option<usize>, UnknownVariant> {
        let named = self.variant_header.as_ref().and_then(|header| headers.get(header));
        let Some(named) = named else { return Ok(None) };
        let place = named.to_str().ok().and_then(|name| self.blue.fleet.place_of_variant(name));
        place.map(Some).ok_or(UnknownVariant)
    }
}

/// The variant of a session: each has a score for the key and the highest takes it, weighted as in [`super::Balance::Hash`]. A
/// change of weights moves only the sessions that it must, and a shift moves none. `None` where none weighs anything.
fn session_variant(key: &[u8], variants: &[Variant]) -> Option<usize> {
    let key = hash(key);
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double")]
    let score = |variant: &Variant| {
        let number = mix(key ^ hash(variant.name.as_str().as_bytes())) >> 11;
        ((number as f64 + 0.5) / (1_u64 << 53) as f64).ln() / variant.weight.as_number()
    };
    let able = variants.iter().enumerate().filter(|(_, variant)| variant.weight.as_millionths() > 0);
    let scored = able.map(|(place, variant)| (score(variant), place));
    scored.max_by(|(left, _), (right, _)| left.total_cmp(right)).map(|(_, place)| place)
}

/// How many cards of a block each variant has: the smallest block that holds every part exactly, as many times as needed to have
/// [`LEAST_CARDS`], or the nearest of [`MOST_CARDS`] where that is larger.
fn block(variants: &[Variant]) -> Vec<u32> {
    let weights = variants.iter().map(|variant| variant.weight.as_millionths());
    let common = weights.clone().fold(0, greatest_common_divisor).max(1);
    let parts: Vec<u64> = weights.map(|weight| weight / common).collect();
    let whole: u64 = parts.iter().sum();
    let cards = if whole <= MOST_CARDS { parts } else { apportioned(&parts, whole) };
    let card = |cards: u64| u32::try_from(cards).expect("no part of a block is larger than the block");
    let cards: Vec<u32> = cards.into_iter().map(card).collect();
    let times = LEAST_CARDS.div_ceil(cards.iter().sum::<u32>().max(1));
    cards.into_iter().map(|cards| cards * times).collect()
}

/// Parts of [`MOST_CARDS`] by the largest remainder; what weighs anything has at least one.
fn apportioned(parts: &[u64], whole: u64) -> Vec<u64> {
    let exact = |part: u64| u128::from(part) * u128::from(MOST_CARDS);
    let floor = |part: u64| u64::try_from(exact(part) / u128::from(whole)).unwrap_or(MOST_CARDS);
    let mut cards: Vec<u64> = parts.iter().map(|part| floor(*part).max(u64::from(*part > 0))).collect();
    let mut by_remainder: Vec<usize> = (0..parts.len()).filter(|place| parts[*place] > 0).collect();
    by_remainder.sort_by_key(|place| std::cmp::Reverse(exact(parts[*place]) % u128::from(whole)));
    let missing = MOST_CARDS.saturating_sub(cards.iter().sum());
    for place in by_remainder.into_iter().take(usize::try_from(missing).unwrap_or(usize::MAX)) {
        cards[place] += 1;
    }
    cards
}

fn greatest_common_divisor(left: u64, right: u64) -> u64 {
    if left == 0 { right } else { greatest_common_divisor(right % left, left) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{fleet::VariantWeight, name::VariantName};

    fn variants(weights: &[f64]) -> Vec<Variant> {
        let variant = |(place, weight): (usize, &f64)| Variant {
            name: VariantName::parse(&format!("v{place}")).unwrap(),
            weight: VariantWeight::from_number(*weight).unwrap(),
            instances: place..place + 1,
        };
        weights.iter().enumerate().map(variant).collect()
    }

    fn dealt(deck: &mut VariantDeck, draws: u32, rng: &mut impl Rng) -> Vec<u32> {
        let mut counts = vec![0; deck.block.len()];
        for _ in 0..draws {
            counts[deck.deal(rng)] += 1;
        }
        counts
    }

    #[test]
    fn a_block_is_the_smallest_that_holds_every_weight_exactly() {
        for (weights, cards) in [
            (&[3.0, 1.0][..], &[15, 5][..]),
            (&[0.9, 0.1], &[18, 2]),
            (&[1.0, 1.0, 1.0], &[7, 7, 7]),
            (&[1.0, 0.0], &[20, 0]),
            (&[5.0], &[20]),
            (&[0.0, 0.0], &[0, 0]),
            (&[0.0025, 1.0], &[1, 400]),
            // No block of ten thousand holds these exactly; a weight that is not zero has a card.
            (&[0.333_333, 0.666_667], &[3_333, 6_667]),
            (&[1e6, 1e-6], &[9_999, 1]),
        ] {
            assert_eq!(block(&variants(weights)), cards, "{weights:?}");
        }
    }

    proptest! {
        #[test]
        fn every_block_deals_every_variant_its_part(weights in prop::collection::vec(0_u8..20, 1..10), seed: u64) {
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let whole: f64 = weights.iter().sum();
            prop_assume!(whole > 0.0);
            let (mut deck, mut rng) = (VariantDeck::new(&variants(&weights)), StdRng::seed_from_u64(seed));
            let cards = deck.block.iter().sum();
            for _ in 0..3 {
                let counts = dealt(&mut deck, cards, &mut rng);
                for (count, weight) in counts.iter().zip(&weights) {
                    prop_assert!((f64::from(*count) / f64::from(cards) - weight / whole).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn a_session_keeps_its_variant_unless_that_has_lost_weight_or_another_has_won(
            key in prop::collection::vec(any::<u8>(), 1..20), weights in prop::collection::vec(1_u8..20, 2..6), more in 1_u8..20,
        ) {
            let mut weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let before = session_variant(&key, &variants(&weights)).unwrap();
            weights[0] += f64::from(more);
            let after = session_variant(&key, &variants(&weights)).unwrap();
            prop_assert!(after == before || after == 0);
        }
    }

    #[test]
    fn sessions_are_spread_by_weight_and_none_goes_where_the_weight_is_zero() {
        let mut counts = [0_u32; 3];
        for key in 0..10_000_u32 {
            counts[session_variant(&key.to_le_bytes(), &variants(&[3.0, 1.0, 0.0])).unwrap()] += 1;
        }
        assert!((7_300..7_700).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
    }

    #[test]
    fn other_weights_start_a_new_deck_and_the_same_go_on_with_it() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut decks = VariantDecks::new(&variants(&[3.0, 1.0]));
        decks.variants.deal(&mut rng);
        let left = decks.variants.cards_left;
        decks.follow(&variants(&[6.0, 2.0]));
        assert_eq!(decks.variants.cards_left, left);
        decks.follow(&variants(&[0.0, 1.0]));
        assert_eq!(dealt(&mut decks.variants, 100, &mut rng), [0, 100]);
    }
}
