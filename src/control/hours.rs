//! What keeps a running shift from going on: a freeze, hours that its plan does not allow, or whoever paused it where no bake can be stopped.
//!
//! Hours are looked at by the wall clock, which may be set at any time, and a shift may learn that it is held a moment before it no longer
//! is. So what counts is not that the end of a hold was waited for but that the engine was told of one and there is none now: that is
//! looked at whenever anything happens, and a sample every second is something.

use super::{endpoint::Endpoint, run::Run, task::Task};
use crate::{
    config::{PlanSpec, Problem, Problems},
    shift::{Hours, Input, Onward, PAUSED, Standing},
    time::{Moment, WallTime, format_duration},
};

/// A plan that is to begin later than this has a slip in its year.
const FARTHEST_START: std::time::Duration = std::time::Duration::from_secs(365 * 86_400);

/// What keeps a shift from going on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hold {
    /// Who or what, in a clause.
    pub(super) why: String,
    /// Who holds it.
    pub(super) holder: Holder,
}

/// Who keeps a shift from going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// Whoever froze its endpoint, until it is unfrozen.
    Freeze,
    /// Its plan's allowed hours, until they begin.
    Hours(WallTime),
    /// Whoever paused it, until somebody resumes it.
    Pause,
}

impl Hold {
    /// When it ends by itself.
    pub(super) fn until(&self) -> Option<WallTime> {
        match self.holder {
            Holder::Freeze | Holder::Pause => None,
            Holder::Hours(until) => Some(until),
        }
    }

    /// What has to happen before the shift goes on, for the front of a sentence.
    pub(super) fn end(&self) -> &'static str {
        match self.holder {
            Holder::Freeze => "once it is unfrozen",
            Holder::Hours(_) => "once its allowed hours begin",
            Holder::Pause => "once it is resumed",
        }
    }
}

impl Endpoint {
    /// What keeps the running shift from going on: a freeze before its plan's hours, and those before a pause.
    pub(super) fn hold(&self, now: WallTime) -> Option<Hold> {
        let is_paused = || self.run.as_ref().is_some_and(|run| run.engine.onward() == Onward::Paused);
        let pause = || is_paused().then(|| Hold { why: PAUSED.to_owned(), holder: Holder::Pause });
        self.ban(now).or_else(pause)
    }

    /// What no operator's command can overrule: a freeze before its plan's hours.
    fn ban(&self, now: WallTime) -> Option<Hold> {
        if let Some(why) = self.frozen() {
            return Some(Hold { why, holder: Holder::Freeze });
        }
        let schedule = &self.run.as_ref()?.plan.schedule;
        match schedule.hours(now) {
            Hours::Open(_) => None,
            Hours::Closed(until) => {
                let why = format!("its allowed hours ({}) begin at {until}", schedule.hours_text());
                Some(Hold { why, holder: Holder::Hours(until) })
            }
        }
    }

    /// A standing as it is for a shift that would go on by itself.
    pub(super) fn under_hold(&self, standing: Standing, now: WallTime) -> Standing {
        under(standing, self.hold(now))
    }

    /// A standing as it is for whoever commands the shift: a pause is ended by a command.
    pub(super) fn under_ban(&self, standing: Standing, now: WallTime) -> Standing {
        under(standing, self.ban(now))
    }
}

impl Run {
    /// Remembers that the engine has been told that the shift is held.
    pub(super) fn note_hold(&mut self, input: &Input) {
        self.is_held |= matches!(
            input,
            Input::GreenReady(Standing::Held { .. })
                | Input::Wake(Standing::Held { .. })
                | Input::Command(_, Standing::Held { .. })
        );
    }
}

impl Task {
    /// Lets everything go on that was held and no longer is.
    pub(super) async fn end_holds(&mut self) {
        let wall = self.wall();
        let is_free = |endpoint: &Endpoint| {
            endpoint.run.as_ref().is_some_and(|run| run.is_held) && endpoint.hold(wall).is_none()
        };
        let free = self.endpoints.iter().filter(|(_, endpoint)| is_free(endpoint));
        for name in free.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if let Some(run) = self.run_mut(&name) {
                run.is_held = false;
            }
            self.let_go_on(&name).await;
        }
    }

    /// When an endpoint has to be looked at again, at the latest: its running shift by what the engine says or when it is no longer held,
    /// those that wait when their time comes.
    pub(super) fn wake_of(&self, endpoint: &Endpoint) -> Option<Moment> {
        let wall = self.wall();
        let running = endpoint.run.as_ref().and_then(|run| {
            let hold = endpoint.hold(wall);
            let ends = hold.as_ref().and_then(Hold::until).map(|until| self.links.timer.moment_of(until));
            Some(run.wake_at(hold.is_some())?.min(ends.unwrap_or(Moment::from_nanos(u64::MAX))))
        });
        let waiting = endpoint.queue.iter().filter_map(|queued| queued.plan.schedule.wait(wall));
        let waiting = waiting.map(|wait| self.links.timer.moment_of(wait.until())).min();
        running.into_iter().chain(waiting).min()
    }
}

/// A standing as it is while the shift is held. What is wrong stays wrong.
fn under(standing: Standing, hold: Option<Hold>) -> Standing {
    match (standing, hold) {
        (breached @ Standing::Breached(_), _) => breached,
        (_, Some(hold)) => Standing::Held { why: hold.why },
        (standing, None) => standing,
    }
}

/// Refuses a start that lies in the past or too far ahead.
pub(super) fn check_start(plan: &PlanSpec, now: WallTime) -> Result<(), Problems> {
    let Some(start) = plan.schedule.start_at else { return Ok(()) };
    let farthest = i64::try_from(FARTHEST_START.as_millis()).unwrap_or(i64::MAX);
    let message = if start <= now {
        format!("{start} is over, it is {now}: leave start_at out to begin now")
    } else if start.as_millis().saturating_sub(now.as_millis()) > farthest {
        let most = format_duration(FARTHEST_START);
        format!("{start} is more than {most} ahead, it is {now}: a shift waits for at most that")
    } else {
        return Ok(());
    };
    let problem = Problem { key: "start_at".to_owned(), line: None, message };
    Err(Problems { source: "plan".to_owned(), problems: vec![problem] })
}
