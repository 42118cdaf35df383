//! Whatever the way to choose an instance: each gets the part that its weight says.

use std::sync::Arc;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Balance, Choice, HashKey, Turns, hash};
use crate::{
    fleet::{Address, Fleet, Health, Instance, Weight},
    name::Version,
};

/// Requests of a run: enough that a part is met to some hundredths.
const REQUESTS: u32 = 6_000;

fn fleet(weights: &[u16]) -> Fleet {
    let instance = |(place, weight): (usize, &u16)| {
        let address = Address::parse(&format!("10.0.0.1:{}", 9_001 + place)).unwrap();
        Arc::new(Instance::new(address, 1).weighing(Weight::new(*weight).unwrap()))
    };
    let instances = weights.iter().enumerate().map(instance).collect();
    Fleet::of(Version::parse("v1").unwrap(), instances)
}

fn hashed(bound_percent: u16) -> Balance {
    Balance::Hash { key: HashKey::PromptPrefix { bytes: 1 }, bound_percent }
}

fn place(fleet: &Fleet, chosen: &Arc<Instance>) -> usize {
    fleet.instances.iter().position(|instance| Arc::ptr_eq(instance, chosen)).unwrap()
}

/// How many requests each instance gets when `width` of them are in flight at a time, ending in no order.
fn taken(fleet: &Fleet, balance: &Balance, width: usize, seed: u64) -> Vec<u32> {
    let (mut rng, turns) = (StdRng::seed_from_u64(seed), Turns::default());
    let (mut counts, mut running) = (vec![0; fleet.instances.len()], Vec::new());
    for request in 0..REQUESTS {
        if running.len() >= width {
            let ended: Arc<Instance> = running.swap_remove(rng.random_range(0..running.len()));
            ended.end(0);
        }
        let choice = Choice { balance, key: Some(hash(&request.to_be_bytes())), turns: &turns };
        let chosen = choice.of(fleet, &mut rng).unwrap();
        chosen.begin(0);
        running.push(Arc::clone(chosen));
        counts[place(fleet, chosen)] += 1;
    }
    for instance in running {
        instance.end(0);
    }
    counts
}

/// Whether counts are as the weights say, to this part of the whole.
fn fit(counts: &[u32], weights: &[u16], tolerance: f64) -> bool {
    let whole: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
    counts.iter().zip(weights).all(|(count, weight)| {
        let (got, wanted) = (f64::from(*count) / f64::from(REQUESTS), f64::from(*weight) / f64::from(whole));
        (got - wanted).abs() < tolerance
    })
}

fn weights() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(prop_oneof![1_u16..5, Just(10)], 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn idle_instances_get_their_parts_however_they_are_chosen(weights in weights(), seed: u64) {
        for balance in [Balance::LeastOfTwo, Balance::RoundRobin, Balance::Random, hashed(1_000)] {
            let counts = taken(&fleet(&weights), &balance, 1, seed);
            prop_assert!(fit(&counts, &weights, 0.03), "{balance:?} {weights:?} {counts:?}");
        }
    }

    #[test]
    fn busy_instances_get_their_parts_too(weights in weights(), seed: u64) {
        for balance in [Balance::LeastOfTwo, Balance::RoundRobin, Balance::Random, hashed(125)] {
            let counts = taken(&fleet(&weights), &balance, 200, seed);
            prop_assert!(fit(&counts, &weights, 0.05), "{balance:?} {weights:?} {counts:?}");
        }
    }

    #[test]
    fn in_every_round_of_turns_each_instance_has_exactly_its_own(weights in weights(), rounds in 1_usize..4) {
        let (fleet, turns) = (fleet(&weights), Turns::default());
        let whole: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        let mut counts = vec![0_usize; weights.len()];
        for _ in 0..rounds * whole {
            let choice = Choice { balance: &Balance::RoundRobin, key: None, turns: &turns };
            counts[place(&fleet, choice.of(&fleet, &mut StdRng::seed_from_u64(1)).unwrap())] += 1;
        }
        let wanted: Vec<_> = weights.iter().map(|weight| usize::from(*weight) * rounds).collect();
        prop_assert_eq!(counts, wanted);
    }

    #[test]
    fn hashing_leaves_no_instance_more_than_the_bound_of_its_part(
        weights in weights(), bound in 101_u16..300, keys in prop::collection::vec(0_u64..3, 1..200),
    ) {
        let (fleet, balance, turns) = (fleet(&weights), hashed(bound), Turns::default());
        let whole: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        for (before, key) in keys.into_iter().enumerate() {
            let choice = Choice { balance: &balance, key: Some(hash(&key.to_be_bytes())), turns: &turns };
            let chosen = choice.of(&fleet, &mut StdRng::seed_from_u64(1)).unwrap();
            chosen.begin(0);
            let part = u64::from(bound) * (before as u64 + 1) * u64::from(chosen.weight().get());
            prop_assert!(chosen.in_flight() <= part.div_ceil(100 * whole));
        }
    }

    #[test]
    fn whoever_cannot_serve_gets_nothing_and_the_others_share_by_weight(
        weights in weights().prop_filter("two", |weights| weights.len() > 1), gone: prop::sample::Index, seed: u64,
    ) {
        let gone = gone.index(weights.len());
        for balance in [Balance::LeastOfTwo, Balance::RoundRobin, Balance::Random, hashed(1_000)] {
            let fleet = fleet(&weights);
            fleet.instances[gone].set_health(Health::Unhealthy);
            let mut left = weights.clone();
            left[gone] = 0;
            let counts = taken(&fleet, &balance, 1, seed);
            prop_assert!(fit(&counts, &left, 0.03), "{balance:?} {weights:?} {counts:?}");
        }
    }
}

#[test]
fn a_heavy_instance_is_not_late_with_its_turns() {
    let (fleet, turns) = (fleet(&[5, 1, 1]), Turns::default());
    let turn = || {
        let choice = Choice { balance: &Balance::RoundRobin, key: None, turns: &turns };
        ["a", "b", "c"][place(&fleet, choice.of(&fleet, &mut StdRng::seed_from_u64(1)).unwrap())]
    };
    assert_eq!((0..14).map(|_| turn()).collect::<String>(), "aabacaaaabacaa");
}
