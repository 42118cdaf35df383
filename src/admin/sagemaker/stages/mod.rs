//! What DescribeEndpoint says of a deployment at each of its moments: statuses, messages and counts.
//!
//! The engine's states are finer than SageMaker's words, so each state has its row here, and what SageMaker has no word for is said behind its
//! own sentence. Templates: <https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html>.

use crate::{
    shift::{InService, ShiftPlan, State},
    trial::cause_text,
    weight::Share,
};

/// How long a step is shown as activating its traffic. It takes as long as the next request; SageMaker takes minutes, and clients that poll
/// every second are to see it.
const ACTIVATING_MILLIS: i64 = 1_000;

/// A deployment at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) state: &'a State,
    pub(super) plan: &'a ShiftPlan,
    /// Since when it is in this state, in milliseconds since 1970.
    pub(super) since: i64,
    pub(super) now: i64,
    /// The fleet in service before it.
    pub(super) blue: u32,
    /// What was asked for of the fleet coming in.
    pub(super) green: u32,
    /// What there is of it, where that is known to be less.
    pub(super) there: u32,
    /// What keeps it from going on.
    pub(super) held: Option<&'a str>,
}

/// What is said of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stage {
    /// `EndpointStatus`
    pub(super) status: &'static str,
    /// The variant in service.
    pub(super) live: Part,
    /// The variant of `PendingDeploymentSummary`.
    pub(super) pending: Part,
}

/// A variant's part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// `CurrentInstanceCount`: instances that take traffic.
    pub(super) instances: u32,
    pub(super) status: Option<Status>,
}

/// `VariantStatus`
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Status {
    pub(super) word: &'static str,
    pub(super) message: String,
    pub(super) since: i64,
}

/// A whole endpoint is updated, whatever its variants do.
const UPDATING: &str = "Updating";
const ROLLING_BACK: &str = "RollingBack";

impl Scene<'_> {
    /// What is said of it.
    pub(super) fn stage(&self) -> Stage {
        match self.state {
            State::Preparing { .. } => {
                self.updating(self.blue, None, (0, self.status("Creating", self.launching())))
            }
            State::Baking { step, .. } => self.updating(self.blue_now(), None, self.baking(*step)),
            State::Holding { step } => {
                let more = self.held.unwrap_or("Its alarms have too little data to go on.");
                self.updating(self.blue_now(), None, self.standing(*step, more))
            }
            State::Paused { step, .. } => {
                let more = "Paused: resume, promote or abort it by the native API.";
                self.updating(self.blue_now(), None, self.standing(*step, more))
            }
            State::RetiringBatch { step, .. } => {
                let going = self.plan.rolling().map_or(0, |rolling| {
                    rolling.blue_before(*step).saturating_sub(rolling.blue_after(*step))
                });
                let live = self.status("Deleting", terminating(going));
                self.updating(self.blue_now(), Some(live), self.standing(*step, ""))
            }
            State::PreparingBatch { step, .. } | State::HoldingBatch { step } => {
                let count = self.plan.rolling().map_or(0, |rolling| {
                    rolling
                        .green(*step)
                        .saturating_sub(step.checked_sub(1).map_or(0, |step| rolling.green(step)))
                });
                let status = self.status("Creating", format!("Launching {count} instance(s)."));
                self.updating(self.blue_now(), None, (self.green_now(), status))
            }
            State::TerminationWait { .. } => {
                let message =
                    format!("Baking with traffic enabled on full capacity of {} instance(s).", self.green);
                self.updating(self.blue, None, (self.green, self.status("Baking", message)))
            }
            State::Retiring { .. } | State::Promoted => {
                let live = self.status("Deleting", terminating(self.blue_to_go()));
                Stage {
                    status: UPDATING,
                    live: Part { instances: self.blue, status: Some(live) },
                    pending: Part { instances: self.green, status: None },
                }
            }
            State::RollingBack { cause, .. } => {
                let message = format!("{} Rolling back: {}.", terminating(self.green), cause_text(cause));
                self.going_back(self.blue, None, (0, self.status("Deleting", message)))
            }
            State::ReleasingBatch { cause, .. } | State::Restoring { cause, .. } => {
                let InService { blue, green } = self.in_service();
                let missing = self.blue.saturating_sub(blue);
                let live = self.status("Updating", format!("Launching {missing} instance(s)."));
                let going = self.green.saturating_sub(green);
                let message = format!("{} Rolling back: {}.", terminating(going), cause_text(cause));
                self.going_back(blue, Some(live), (green, self.status("Deleting", message)))
            }
            State::RolledBack { .. } | State::RollbackFailed { .. } => {
                let message = terminating(self.green);
                self.going_back(self.blue, None, (0, self.status("Deleting", message)))
            }
        }
    }

    fn updating(&self, blue: u32, live: Option<Status>, (green, pending): (u32, Status)) -> Stage {
        let live = Part { instances: blue, status: live };
        Stage { status: UPDATING, live, pending: Part { instances: green, status: Some(pending) } }
    }

    fn going_back(&self, blue: u32, live: Option<Status>, green: (u32, Status)) -> Stage {
        Stage { status: ROLLING_BACK, ..self.updating(blue, live, green) }
    }

    fn status(&self, word: &'static str, message: String) -> Status {
        Status { word, message, since: self.since }
    }

    /// Of blue/green the whole fleet at once, of a rolling deployment its first batch.
    fn launching(&self) -> String {
        let count = self.plan.rolling().map_or(self.green, |rolling| rolling.green(0));
        let message = format!("Launching {count} instance(s).");
        if self.there < self.green {
            format!("{message} The model names {} instance(s), so that is the capacity.", self.there)
        } else {
            message
        }
    }

    fn baking(&self, step: usize) -> (u32, Status) {
        if self.now.saturating_sub(self.since) < ACTIVATING_MILLIS {
            let count = self.activated(step);
            let message =
                format!("Activating traffic on {} capacity of {count} instance(s).", self.capacity(step));
            return (count, self.status("ActivatingTraffic", message));
        }
        self.standing(step, "")
    }

    /// A step whose bake goes on, or is over.
    fn standing(&self, step: usize, more: &str) -> (u32, Status) {
        let count = self.activated(step);
        let seconds = self.plan.steps().get(step).map_or(0, |step| step.bake.as_secs());
        let is_last = step + 1 == self.plan.steps().len();
        let wait = if is_last && self.plan.rolling().is_none() {
            "TerminationWaitInSeconds"
        } else {
            "WaitIntervalInSeconds"
        };
        let capacity = self.capacity(step);
        let message = format!(
            "Baking for {seconds} seconds ({wait}) with traffic enabled on {capacity} capacity of {count} instance(s)."
        );
        let message = if more.is_empty() { message } else { format!("{message} {more}") };
        (count, self.status("Baking", message))
    }

    /// AWS has words for a part and for the whole.
    fn capacity(&self, step: usize) -> &'static str {
        let is_whole = self.plan.steps().get(step).is_none_or(|step| step.share == Share::ALL);
        if is_whole { "full" } else { "canary" }
    }

    /// The instances of green that its share is for.
    fn activated(&self, step: usize) -> u32 {
        if let Some(rolling) = self.plan.rolling() {
            return rolling.green(step);
        }
        let points = self.plan.steps().get(step).map_or(0, |step| u64::from(step.share.basis_points()));
        let whole = u64::from(Share::WHOLE);
        let count = (points * u64::from(self.green) + whole / 2) / whole;
        u32::try_from(count.max(1)).unwrap_or(self.green).min(self.green)
    }

    fn in_service(&self) -> InService {
        let all = InService { blue: self.blue, green: 0 };
        self.plan.rolling().map_or(all, |rolling| rolling.in_service(self.state))
    }

    fn blue_now(&self) -> u32 {
        self.in_service().blue
    }

    fn green_now(&self) -> u32 {
        self.in_service().green
    }

    /// What is left of blue when the last step is over.
    fn blue_to_go(&self) -> u32 {
        let last = self.plan.steps().len().saturating_sub(1);
        self.plan.rolling().map_or(self.blue, |rolling| rolling.blue_before(last))
    }
}

fn terminating(count: u32) -> String {
    format!("Terminating {count} instance(s).")
}

#[cfg(test)]
mod tests;
