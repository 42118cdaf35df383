//! Which instance of the fleet takes a request: the less busy of two random ones.
//!
//! The least busy of all would send every worker's next request to the same instance as long as its count is old; two random
//! choices get nearly all of the gain and spread the herd (Mitzenmacher, The Power of Two Choices, 2001).

use std::sync::Arc;

use rand::{Rng, RngExt};

use crate::fleet::{Fleet, Health, Instance};

/// Picks the less busy of two different random instances that can serve (Mitzenmacher 2001), by in-flight requests summed over all
/// workers. `avoid` is left out when another one can serve. `None` when no instance can.
///
/// Up to two candidates are compared as they are; randomness then only settles a tie.
pub fn pick<'a>(fleet: &'a Fleet, avoid: Option<&Instance>, rng: &mut impl Rng) -> Option<&'a Arc<Instance>> {
    let is_avoided = |instance: &Instance| avoid.is_some_and(|avoid| std::ptr::eq(instance, avoid));
    let able = || fleet.instances.iter().filter(|instance| instance.health() != Health::Unhealthy);
    let mut candidates = able().filter(|instance| !is_avoided(instance));
    let (first, second) = match candidates.clone().count() {
        0 => return able().next(),
        1 | 2 => {
            let pair = (candidates.next(), candidates.next());
            if is_tie(pair) && rng.random() { (pair.1, pair.0) } else { pair }
        }
        count => {
            let first = rng.random_range(0..count);
            let others = rng.random_range(0..count - 1);
            let second = if others < first { others } else { others + 1 };
            (candidates.clone().nth(first), candidates.nth(second))
        }
    };
    // A health check may have changed its mind since the candidates were counted, so that either place may be empty.
    match (first, second) {
        (Some(first), Some(second)) if second.in_flight() < first.in_flight() => Some(second),
        (Some(only), _) | (None, Some(only)) => Some(only),
        (None, None) => able().next(),
    }
}

fn is_tie(pair: (Option<&Arc<Instance>>, Option<&Arc<Instance>>)) -> bool {
    matches!(pair, (Some(first), Some(second)) if first.in_flight() == second.in_flight())
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{fleet::Address, name::Version};

    /// A fleet whose instances have these many requests in flight.
    fn fleet(in_flight: &[u32]) -> Fleet {
        let instance = |(place, count): (usize, &u32)| {
            let instance = Instance::new(Address::parse(&format!("127.0.0.1:{}", 9_001 + place)).unwrap(), 2);
            for request in 0..*count {
                instance.begin(usize::from(request % 2 == 1));
            }
            Arc::new(instance)
        };
        let instances = in_flight.iter().enumerate().map(instance).collect();
        Fleet { version: Version::parse("v1").unwrap(), instances }
    }

    /// How often each instance is picked in 3,000 rounds.
    fn picks(fleet: &Fleet, avoid: Option<usize>) -> Vec<u32> {
        let mut rng = StdRng::seed_from_u64(5);
        let mut counts = vec![0; fleet.instances.len()];
        let avoid = avoid.map(|place| &*fleet.instances[place]);
        for _ in 0..3_000 {
            if let Some(picked) = pick(fleet, avoid, &mut rng) {
                counts[fleet.instances.iter().position(|other| Arc::ptr_eq(other, picked)).unwrap()] += 1;
            }
        }
        counts
    }

    fn is_even(counts: &[u32]) -> bool {
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        most - least < 300
    }

    #[test]
    fn equally_busy_instances_are_picked_equally_often() {
        for size in [2, 3, 5] {
            let counts = picks(&fleet(&vec![4; size]), None);
            assert!(is_even(&counts), "{counts:?}");
        }
    }

    #[test]
    fn the_less_busy_of_the_two_wins_and_the_busiest_never_does() {
        assert_eq!(picks(&fleet(&[3, 1]), None), [0, 3_000]);
        let counts = picks(&fleet(&[2, 9, 0]), None);
        assert_eq!(counts[1], 0);
        // Of the three pairs two hold the idle instance.
        assert!((1_850..2_150).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn an_unhealthy_instance_gets_nothing_and_an_unchecked_one_its_part() {
        let fleet = fleet(&[0, 0, 0]);
        fleet.instances[0].set_health(Health::Unhealthy);
        fleet.instances[1].set_health(Health::Healthy);
        let counts = picks(&fleet, None);
        assert_eq!(counts[0], 0);
        assert!(is_even(&counts[1..]), "{counts:?}");
        for instance in &fleet.instances {
            instance.set_health(Health::Unhealthy);
        }
        assert_eq!(picks(&fleet, None), [0, 0, 0]);
    }

    #[test]
    fn the_avoided_instance_serves_only_when_no_other_can() {
        let fleet = fleet(&[0, 7, 7]);
        let counts = picks(&fleet, Some(0));
        assert_eq!(counts[0], 0);
        assert!(is_even(&counts[1..]), "{counts:?}");
        fleet.instances[1].set_health(Health::Unhealthy);
        assert_eq!(picks(&fleet, Some(0)), [0, 0, 3_000]);
        fleet.instances[2].set_health(Health::Unhealthy);
        assert_eq!(picks(&fleet, Some(0)), [3_000, 0, 0]);
    }

    #[test]
    fn an_empty_fleet_serves_nobody() {
        assert!(pick(&fleet(&[]), None, &mut StdRng::seed_from_u64(1)).is_none());
    }
}
