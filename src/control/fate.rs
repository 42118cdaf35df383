//! What became of green's requests that were open when a shift went back.

use serde::{Deserialize, Serialize};

use crate::meter::Reading;

/// Green's counters at one moment, as far as they tell what became of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tally {
    dealt: u64,
    settled: u64,
    finished: u64,
    rescued: u64,
    client_gone: u64,
}

/// What became of green's requests that were open when the decision fell, and of those that were dealt to it in the moment after. The counts
/// but the first two add up to these two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fate {
    /// Open when the decision fell.
    pub open: u64,
    /// Dealt to green after it, by workers that had taken the table before.
    pub late: u64,
    /// Answered in full by green.
    pub finished: u64,
    /// Failed by green and answered by blue before the client saw anything.
    pub rescued: u64,
    /// Failed, and the client saw it.
    pub failed: u64,
    /// Given up by their clients.
    pub client_gone: u64,
    /// Not at their end yet; of a shift that is over, those that had not ended at its drain deadline.
    pub running: u64,
    /// Cut by the end of the process.
    pub cut: u64,
}

/// The same in a shift's report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct FateForm {
    open: u64,
    late: u64,
    finished: u64,
    rescued: u64,
    failed: u64,
    client_gone: u64,
    running: u64,
    cut: u64,
}

impl Tally {
    pub(super) fn of(reading: &Reading) -> Self {
        Self {
            dealt: reading.dealt,
            settled: reading.settled(),
            finished: reading.succeeded + reading.client_errors,
            rescued: reading.rescued().saturating_sub(reading.rescue_failed()),
            client_gone: reading.client_gone,
        }
    }

    /// What became until `now` of what was open.
    pub(super) fn fate(self, now: Self) -> Fate {
        let finished = now.finished.saturating_sub(self.finished);
        let rescued = now.rescued.saturating_sub(self.rescued);
        let client_gone = now.client_gone.saturating_sub(self.client_gone);
        let settled = now.settled.saturating_sub(self.settled);
        Fate {
            open: self.dealt.saturating_sub(self.settled),
            late: now.dealt.saturating_sub(self.dealt),
            finished,
            rescued,
            failed: settled.saturating_sub(finished + rescued + client_gone),
            client_gone,
            running: now.dealt.saturating_sub(now.settled),
            cut: 0,
        }
    }
}

impl Fate {
    /// As a process finds it that was not there: whatever ran, ended with the process before.
    pub(super) fn after_restart(self) -> Self {
        Self { running: 0, cut: self.cut + self.running, ..self }
    }
}

impl FateForm {
    pub(super) fn of(fate: &Fate) -> Self {
        let Fate { open, late, finished, rescued, failed, client_gone, running, cut } = *fate;
        Self { open, late, finished, rescued, failed, client_gone, running, cut }
    }

    pub(super) fn fate(self) -> Fate {
        let Self { open, late, finished, rescued, failed, client_gone, running, cut } = self;
        Fate { open, late, finished, rescued, failed, client_gone, running, cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_open_and_came_late_adds_up_to_what_became_of_it() {
        let tally = |dealt, settled, finished, rescued, client_gone| Tally {
            dealt,
            settled,
            finished,
            rescued,
            client_gone,
        };
        let (then, now) = (tally(100, 90, 80, 3, 2), tally(101, 98, 83, 5, 3));
        let fate = then.fate(now);
        let wanted = Fate {
            open: 10,
            late: 1,
            finished: 3,
            rescued: 2,
            failed: 2,
            client_gone: 1,
            running: 3,
            cut: 0,
        };
        assert_eq!(fate, wanted);
        let Fate { open, late, finished, rescued, failed, client_gone, running, cut } = fate.after_restart();
        assert_eq!((running, cut), (0, 3));
        assert_eq!(open + late, finished + rescued + failed + client_gone + running + cut);
        assert_eq!(FateForm::of(&fate).fate(), fate);
    }
}
