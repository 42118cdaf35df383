//! Which instance of the fleet takes a request: the less busy of two random ones.
//!
//! The least busy of all would send every worker's next request to the same instance as long as its count is old; two random
//! choices get nearly all of the gain and spread the herd (Mitzenmacher, The Power of Two Choices, 2001).
//!
//! Instances have parts ([`Instance::part`]): of two, the one with fewer requests in flight for its part wins, and both are drawn by
//! their parts. So idle instances get exactly their parts, and busy ones come to have them in flight.

use std::sync::Arc;

use rand::{Rng, RngExt};

use crate::fleet::{Fleet, Instance};

/// An instance that can take the request, and its part.
type Candidate<'a> = (&'a Arc<Instance>, u64);

/// Picks the less busy of two different random instances that can serve (Mitzenmacher 2001), by in-flight requests summed over all
/// workers. `avoid` is left out when another one can serve. `None` when no instance can.
///
/// Up to two candidates are compared as they are; randomness then only settles a tie.
pub fn pick<'a>(fleet: &'a Fleet, avoid: Option<&Instance>, rng: &mut impl Rng) -> Option<&'a Arc<Instance>> {
    let picked = pick_by(fleet, avoid, Instance::part, rng);
    picked.or_else(|| pick_by(fleet, avoid, Instance::part_in_need, rng))
}

/// The same where `part` says how large each instance's part is: zero for one that cannot take the request.
pub fn pick_by<'a>(
    fleet: &'a Fleet,
    avoid: Option<&Instance>,
    part: impl Fn(&Instance) -> u64,
    rng: &mut impl Rng,
) -> Option<&'a Arc<Instance>> {
    let is_avoided = |instance: &Instance| avoid.is_some_and(|avoid| std::ptr::eq(instance, avoid));
    let candidates = fleet.instances.iter().filter_map(|instance| {
        let part = part(instance);
        (part > 0 && !is_avoided(instance)).then_some((instance, part))
    });
    let (count, whole) =
        candidates.clone().fold((0, 0), |(count, whole), (_, part)| (count + 1, whole + part));
    let pair = match count {
        0 => return fleet.instances.iter().find(|instance| part(instance) > 0),
        1 | 2 => in_order(candidates, whole, rng),
        _ => drawn(candidates, whole, rng),
    };
    // Parts may have changed since they were added up, so that either place may be empty.
    match pair {
        (Some(first), Some(second)) if is_less_busy(second, first) => Some(second.0),
        (Some((only, _)), _) | (None, Some((only, _))) => Some(only),
        (None, None) => fleet.instances.iter().find(|instance| part(instance) > 0),
    }
}

/// The only candidate, or both, the one first that wins a tie.
fn in_order<'a>(
    mut candidates: impl Iterator<Item = Candidate<'a>>,
    whole: u64,
    rng: &mut impl Rng,
) -> (Option<Candidate<'a>>, Option<Candidate<'a>>) {
    match (candidates.next(), candidates.next()) {
        (Some(first), Some(second)) if is_tie(first, second) && rng.random_range(0..whole) >= first.1 => {
            (Some(second), Some(first))
        }
        pair => pair,
    }
}

/// Two different candidates, each drawn by its part. The first wins a tie, which makes idle instances get exactly their parts.
fn drawn<'a>(
    candidates: impl Iterator<Item = Candidate<'a>> + Clone,
    whole: u64,
    rng: &mut impl Rng,
) -> (Option<Candidate<'a>>, Option<Candidate<'a>>) {
    let first = at(candidates.clone(), rng.random_range(0..whole));
    let Some((drawn, part)) = first else { return (None, None) };
    let others = candidates.filter(|(instance, _)| !Arc::ptr_eq(instance, drawn));
    // A part that grew since they were added up may be all that there is.
    (first, at(others, rng.random_range(0..whole.saturating_sub(part).max(1))))
}

/// The candidate in whose part a draw falls.
pub(super) fn at<'a>(
    mut candidates: impl Iterator<Item = Candidate<'a>>,
    draw: u64,
) -> Option<Candidate<'a>> {
    let mut left = draw;
    candidates.find(|(_, part)| match left.checked_sub(*part) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })
}

fn is_less_busy((one, part): Candidate<'_>, (other, others_part): Candidate<'_>) -> bool {
    one.in_flight() * others_part < other.in_flight() * part
}

fn is_tie((one, part): Candidate<'_>, (other, others_part): Candidate<'_>) -> bool {
    one.in_flight() * others_part == other.in_flight() * part
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        fleet::{Address, Health},
        name::Version,
    };

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
        Fleet::of(Version::parse("v1").unwrap(), instances)
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
