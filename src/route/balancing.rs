//! The ways to choose an instance, of which [`super::pick`] is the default.
//!
//! The hash is a rendezvous (Thaler and Ravishankar, 1998): each instance has a score for the key and the highest takes it, so an
//! instance that goes or comes moves only its own keys. Its load is bounded (Mirrokni, Thorup and Zadimoghaddam, 2018): an instance with
//! more than its part of the requests in flight is passed over for the next score. Without the bound one popular key, such as a common
//! system prompt, piles everything on one instance.
//!
//! All of them heed the instances' parts ([`Instance::part`]): turns are smooth weighted ones (nginx, 2012), draws and scores are
//! weighted (Schindelhauer and Schomaker, 2005), and the bound is on an instance's own part.

use std::{cell::RefCell, sync::Arc};

use http::HeaderMap;
use rand::{Rng, RngExt};

use super::{
    Sticky,
    balance::{at, pick_by},
    hash::{hash, mix},
};
use crate::fleet::{Fleet, Instance};

/// How an endpoint's instances share its requests.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Balance {
    /// The less busy of two random ones.
    #[default]
    LeastOfTwo,
    /// One after the other, on each worker.
    RoundRobin,
    /// Any.
    Random,
    /// Requests with the same key to the same instance, within the bound. Those without a key go to the less busy of two.
    Hash {
        /// What the key is.
        key: HashKey,
        /// How much of its even part an instance may have in flight, in percent; above 100.
        bound_percent: u16,
    },
}

/// What a request is hashed by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HashKey {
    /// A header or a cookie.
    Session(Sticky),
    /// So many bytes of the prompt, from its first ([`super::PromptScanner`]).
    PromptPrefix {
        /// How many.
        bytes: usize,
    },
}

impl Balance {
    /// The hash of the session's key, where that is what requests are hashed by and the request has one.
    pub fn session_key(&self, headers: &HeaderMap) -> Option<u64> {
        match self {
            Self::Hash { key: HashKey::Session(session), bound_percent: _ } => session.key(headers).map(hash),
            Self::Hash { key: HashKey::PromptPrefix { .. }, bound_percent: _ }
            | Self::LeastOfTwo
            | Self::RoundRobin
            | Self::Random => None,
        }
    }

    /// How many bytes of the prompt requests are hashed by, where it is the prompt.
    pub fn prompt_bytes(&self) -> Option<usize> {
        match self {
            Self::Hash { key: HashKey::PromptPrefix { bytes }, bound_percent: _ } => Some(*bytes),
            Self::Hash { key: HashKey::Session(_), bound_percent: _ }
            | Self::LeastOfTwo
            | Self::RoundRobin
            | Self::Random => None,
        }
    }
}

/// What a choice goes by, beside the instances.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The way.
    pub balance: &'a Balance,
    /// The hash of the request's key, if it has one.
    pub key: Option<u64>,
    /// This worker's turns.
    pub turns: &'a Turns,
}

/// Whose turn it is among the instances of a fleet, on one worker.
///
/// Each round everybody's claim grows by their part; the largest claim has the turn and pays with everybody's parts. So turns are
/// spread as evenly as the parts allow: 5, 1 and 1 make `aabacaa`, not `aaaaabc`.
#[derive(Debug, Default)]
pub struct Turns(RefCell<Vec<i64>>);

impl Choice<'_> {
    /// The instance that takes the request; `None` when none can serve.
    pub fn of<'f>(&self, fleet: &'f Fleet, rng: &mut impl Rng) -> Option<&'f Arc<Instance>> {
        let chosen = self.among(fleet, Instance::part, rng);
        chosen.or_else(|| self.among(fleet, Instance::part_in_need, rng))
    }

    /// The same where `part` says how large each instance's part is: zero for one that cannot take the request.
    pub fn among<'f>(
        &self,
        fleet: &'f Fleet,
        part: impl Fn(&Instance) -> u64 + Copy,
        rng: &mut impl Rng,
    ) -> Option<&'f Arc<Instance>> {
        match (self.balance, self.key) {
            (Balance::RoundRobin, _) => self.turns.next(fleet, part),
            (Balance::Random, _) => at_random(fleet, part, rng),
            (Balance::Hash { key: _, bound_percent }, Some(key)) => by_hash(fleet, key, *bound_percent, part),
            (Balance::LeastOfTwo, _) | (Balance::Hash { .. }, None) => pick_by(fleet, None, part, rng),
        }
    }
}

impl Turns {
    fn next<'f>(&self, fleet: &'f Fleet, part: impl Fn(&Instance) -> u64) -> Option<&'f Arc<Instance>> {
        let mut claims = self.0.borrow_mut();
        claims.resize(fleet.instances.len(), 0);
        let (mut whole, mut largest) = (0, None);
        for (place, (claim, instance)) in claims.iter_mut().zip(&fleet.instances).enumerate() {
            let part = i64::try_from(part(instance)).unwrap_or(i64::MAX);
            if part == 0 {
                continue;
            }
            *claim += part;
            whole += part;
            if largest.is_none_or(|(claims, _)| *claim > claims) {
                largest = Some((*claim, place));
            }
        }
        let (_, place) = largest?;
        *claims.get_mut(place)? -= whole;
        fleet.instances.get(place)
    }
}

fn at_random<'f>(
    fleet: &'f Fleet,
    part: impl Fn(&Instance) -> u64,
    rng: &mut impl Rng,
) -> Option<&'f Arc<Instance>> {
    let candidates = fleet.instances.iter().map(|instance| (instance, part(instance)));
    let whole = candidates.clone().map(|(_, part)| part).sum();
    if whole == 0 {
        return None;
    }
    let drawn = at(candidates, rng.random_range(0..whole)).map(|(instance, _)| instance);
    // Parts may have shrunk since they were added up.
    drawn.or_else(|| fleet.instances.iter().find(|instance| part(instance) > 0))
}

fn by_hash(
    fleet: &Fleet,
    key: u64,
    bound_percent: u16,
    part: impl Fn(&Instance) -> u64,
) -> Option<&Arc<Instance>> {
    let able = || {
        let parts = fleet.instances.iter().map(|instance| (instance, part(instance)));
        parts.filter(|(_, part)| *part > 0)
    };
    let (whole, in_flight) =
        able().fold((0, 0), |(whole, sum), (instance, part)| (whole + part, sum + instance.in_flight()));
    // This request is in flight, too.
    let bound = u128::from(bound_percent) * (u128::from(in_flight) + 1);
    let has_room = |(instance, part): &(&Arc<Instance>, u64)| {
        let most = (bound * u128::from(*part)).div_ceil(100 * u128::from(whole.max(1)));
        u128::from(instance.in_flight()) < most
    };
    // Counts move while they are read, so that for a moment nobody may seem to have room.
    highest(key, able().filter(has_room)).or_else(|| highest(key, able()))
}

/// The instance with the highest score for a key. A score is the logarithm of the instance's own number between 0 and 1 for the key
/// divided by its part, so each has the highest in as many cases as its part says.
pub(super) fn highest<'f>(
    key: u64,
    candidates: impl Iterator<Item = (&'f Arc<Instance>, u64)>,
) -> Option<&'f Arc<Instance>> {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double, and a part has at most 20")]
    let score = |(instance, part): &(&Arc<Instance>, u64)| {
        let number = mix(key ^ hash(instance.address().as_str().as_bytes())) >> 11;
        ((number as f64 + 0.5) / (1_u64 << 53) as f64).ln() / *part as f64
    };
    let scored = candidates.map(|candidate| (score(&candidate), candidate.0));
    scored.max_by(|(left, _), (right, _)| left.total_cmp(right)).map(|(_, instance)| instance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        fleet::{Address, Health},
        name::Version,
    };

    fn fleet(size: usize) -> Fleet {
        let instance = |place| {
            Arc::new(Instance::new(Address::parse(&format!("10.0.0.1:{}", 9_001 + place)).unwrap(), 1))
        };
        Fleet::of(Version::parse("v1").unwrap(), (0..size).map(instance).collect())
    }

    fn choose(fleet: &Fleet, balance: &Balance, key: Option<u64>, turns: &Turns) -> Option<usize> {
        let chosen = Choice { balance, key, turns }.of(fleet, &mut StdRng::seed_from_u64(1))?;
        fleet.instances.iter().position(|instance| Arc::ptr_eq(instance, chosen))
    }

    fn by_key(fleet: &Fleet, key: u64) -> Option<usize> {
        let key = Some(hash(&key.to_be_bytes()));
        choose(fleet, &hashed(125), key, &Turns::default())
    }

    fn hashed(bound_percent: u16) -> Balance {
        Balance::Hash { key: HashKey::PromptPrefix { bytes: 1 }, bound_percent }
    }

    #[test]
    fn round_robin_takes_turns_over_those_that_can_serve() {
        let (fleet, turns) = (fleet(3), Turns::default());
        fleet.instances[1].set_health(Health::Unhealthy);
        let chosen: Vec<_> = (0..4).map(|_| choose(&fleet, &Balance::RoundRobin, None, &turns)).collect();
        assert_eq!(chosen, [Some(0), Some(2), Some(0), Some(2)]);
    }

    #[test]
    fn every_way_finds_nobody_where_nobody_can_serve() {
        let fleet = fleet(1);
        fleet.instances[0].set_health(Health::Unhealthy);
        for balance in [Balance::LeastOfTwo, Balance::RoundRobin, Balance::Random, hashed(125)] {
            assert_eq!(choose(&fleet, &balance, Some(1), &Turns::default()), None);
        }
    }

    #[test]
    fn keys_spread_evenly_over_idle_instances() {
        let fleet = fleet(4);
        let mut counts = [0_u32; 4];
        for key in 0..4_000 {
            counts[by_key(&fleet, key).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn random_choices_reach_everybody() {
        let (fleet, mut rng) = (fleet(3), StdRng::seed_from_u64(1));
        let choice = Choice { balance: &Balance::Random, key: None, turns: &Turns::default() };
        let mut seen = [false; 3];
        for _ in 0..100 {
            let chosen = choice.of(&fleet, &mut rng).unwrap();
            seen[fleet.instances.iter().position(|other| Arc::ptr_eq(other, chosen)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 3]);
    }

    proptest! {
        #[test]
        fn an_instance_that_goes_moves_only_its_own_keys(key: u64, size in 2_usize..9, gone in 0_usize..9) {
            let (fleet, gone) = (fleet(size), gone % size);
            let before = by_key(&fleet, key);
            fleet.instances[gone].set_health(Health::Unhealthy);
            let after = by_key(&fleet, key);
            prop_assert_ne!(after, Some(gone));
            if before != Some(gone) {
                prop_assert_eq!(after, before);
            }
        }

        #[test]
        fn no_instance_has_more_than_the_bound_of_its_part(
            keys in prop::collection::vec(0_u64..3, 1..200), size in 1_usize..9, bound in 101_u16..300,
        ) {
            let fleet = fleet(size);
            let (mut in_flight, balance) = (0, hashed(bound));
            for key in keys {
                let chosen = choose(&fleet, &balance, Some(key), &Turns::default()).unwrap();
                fleet.instances[chosen].begin(0);
                in_flight += 1;
                let most = (u64::from(bound) * in_flight).div_ceil(100 * size as u64);
                prop_assert!(fleet.instances[chosen].in_flight() <= most);
            }
        }
    }
}
