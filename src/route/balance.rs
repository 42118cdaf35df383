//! Which instance of the fleet takes a request: the less busy of two random ones.

use std::sync::Arc;

use rand::Rng;

use crate::fleet::{Fleet, Instance};

/// Picks the less busy of two different random instances that can serve (Mitzenmacher 2001), by in-flight requests summed over all
/// workers. `avoid` is left out when another one can serve. `None` when no instance can.
pub fn pick<'a>(
    _fleet: &'a Fleet,
    _avoid: Option<&Instance>,
    _rng: &mut impl Rng,
) -> Option<&'a Arc<Instance>> {
    todo!()
}
