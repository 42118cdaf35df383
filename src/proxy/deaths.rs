//! Whether a request is suspected of killing the servers that get it.
//!
//! Instances are counted, not connections: a process that was killed takes new ones until the last of its sockets is closed, so that one
//! death can end a reused connection and then the one that was made in its place.

/// Instances whose connections died under a request, after which it is given up.
const LIMIT: u8 = 2;

/// How many instances' connections died under a request, over all of its tries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deaths {
    instances: u8,
    /// The present instance is one of them.
    has_died_here: bool,
}

impl Deaths {
    /// A connection to the present instance ended under the request.
    pub(super) fn note(&mut self) {
        if !std::mem::replace(&mut self.has_died_here, true) {
            self.instances = self.instances.saturating_add(1);
        }
    }

    /// The same request at another instance.
    pub(super) fn elsewhere(self) -> Self {
        Self { has_died_here: false, ..self }
    }

    /// Whether the request is given up.
    pub(super) fn are_too_many(self) -> bool {
        self.instances >= LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_instances_are_too_many_and_two_connections_to_one_are_not() {
        let mut deaths = Deaths::default();
        deaths.note();
        deaths.note();
        assert!(!deaths.are_too_many());
        let mut deaths = deaths.elsewhere();
        assert!(!deaths.are_too_many());
        deaths.note();
        assert!(deaths.are_too_many());
    }
}
