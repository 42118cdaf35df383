//! The way back to blue.
//!
//! While blue is whole it is one table away, from every state alike. A rolling shift lets blue go batch by batch, and then goes back in one
//! of two ways, as its plan says:
//!
//! - At once (no `rollback_batch`): blue has all traffic from the first moment, with the instances that it has left; what those cannot
//!   take is theirs to refuse, by their limits. Its missing instances are made meanwhile.
//! - In batches: from the first moment green has only what blue's instances cannot take (nothing, if none is missing). Then a batch of
//!   blue is made, takes its part, and a batch of green goes, until blue is whole. Nothing bakes and no alarm is asked on this way.
//!
//! A batch that cannot be had ends the shift where it stands ([`State::RollbackFailed`]).

use super::{Back, Cause, Count, Effect, Pace, Rolling, Shift, State, decision::Decision, state::Phase};
use crate::{
    fleet::Side,
    time::{Moment, format_duration},
    weight::Share,
};

impl Shift {
    /// The way back begins with what it takes from green, also where green has nothing yet: to take nothing costs nothing, and no state
    /// can be wrong about it (S3).
    pub(super) fn roll_back(&self, now: Moment, cause: Cause) -> Decision {
        let drain_by = now.after(self.plan().limits().drain_timeout);
        let Some((rolling, mut back)) = self.way_back() else {
            return Decision {
                state: State::RollingBack { cause, drain_by },
                effects: vec![
                    Effect::PublishShare(Share::NONE),
                    Effect::Drain { side: Side::Green, keep: 0 },
                ],
            };
        };
        if cause == Cause::GreenGone {
            // A green without a healthy instance can keep nothing.
            back.pace = Pace::AtOnce;
        }
        let mut effects = vec![Effect::PublishShare(rolling.share_on_the_way_back(back))];
        if matches!(self.state(), State::RetiringBatch { .. }) {
            // The batch of blue that was about to go is still there.
            effects.push(Effect::Serve(Side::Blue, Count::First(back.blue)));
        }
        if back.blue == rolling.sizes.blue.get() {
            effects.push(Effect::Drain { side: Side::Green, keep: 0 });
            return Decision { state: State::RollingBack { cause, drain_by }, effects };
        }
        effects.extend(release(rolling, back));
        Decision { state: State::ReleasingBatch { cause, back, drain_by }, effects }
    }

    /// The way back of a shift whose process has started again: the table gives green nothing yet, and names all that blue had once.
    pub(super) fn roll_back_after_restart(&self, now: Moment, cause: Cause) -> Decision {
        let decision = self.roll_back(now, cause);
        let State::ReleasingBatch { back, .. } = decision.state else { return decision };
        let rolling = self.rolled();
        let effects = serve_again(rolling, back).into_iter().chain(release(rolling, back)).collect();
        Decision { effects, ..decision }
    }

    /// Green's share from the first moment of a rollback: what an evaluator that acts before the engine leaves it.
    pub fn share_after_snap(&self) -> Share {
        let way = self.state().has_way_back().then(|| self.way_back()).flatten();
        way.map_or(Share::NONE, |(rolling, back)| rolling.share_on_the_way_back(back))
    }

    /// Where a rolling shift would begin its way back.
    fn way_back(&self) -> Option<(&Rolling, Back)> {
        let rolling = self.plan().rolling()?;
        let step = match self.state().phase() {
            Phase::At(step) | Phase::Between(step) => step,
            Phase::Before | Phase::Warm | Phase::Leaving | Phase::Back | Phase::Mending(_) | Phase::Over => 0,
        };
        Some((rolling, Back { blue: rolling.blue_before(step), pace: rolling.pace() }))
    }

    /// What green does not need any more has gone: the next of blue's instances are made.
    pub(super) fn make_blue(&self, now: Moment, cause: &Cause, back: Back) -> Decision {
        let rolling = self.rolled();
        let keep = rolling.green_on_the_way_back(back);
        Decision {
            state: self.restoring(now, cause, back),
            effects: vec![
                Effect::Retire { side: Side::Green, keep },
                Effect::Provision(Side::Blue, Count::First(rolling.next_blue(back))),
            ],
        }
    }

    fn restoring(&self, now: Moment, cause: &Cause, back: Back) -> State {
        let ready_by = now.after(self.plan().limits().ready_timeout);
        State::Restoring { cause: cause.clone(), back, ready_by }
    }

    /// Instances of blue are back.
    pub(super) fn blue_ready(&self, now: Moment) -> Decision {
        let drain_by = now.after(self.plan().limits().drain_timeout);
        match self.state() {
            State::Restoring { cause, back, .. } => {
                let (rolling, cause) = (self.rolled(), cause.clone());
                let back = Back { blue: rolling.next_blue(*back), ..*back };
                let mut effects = vec![
                    Effect::Serve(Side::Blue, Count::First(back.blue)),
                    Effect::PublishShare(rolling.share_on_the_way_back(back)),
                ];
                if back.blue == rolling.sizes.blue.get() {
                    effects.push(Effect::Drain { side: Side::Green, keep: 0 });
                    return Decision { state: State::RollingBack { cause, drain_by }, effects };
                }
                effects.extend(release(rolling, back));
                Decision { state: State::ReleasingBatch { cause, back, drain_by }, effects }
            }
            // All of blue was ordered at once, and is there before green's last request has ended.
            State::ReleasingBatch { cause, back: Back { pace: Pace::AtOnce, .. }, drain_by } => Decision {
                state: State::RollingBack { cause: cause.clone(), drain_by: *drain_by },
                effects: vec![Effect::Serve(Side::Blue, Count::First(self.rolled().sizes.blue.get()))],
            },
            State::ReleasingBatch { back: Back { pace: Pace::Batches, .. }, .. }
            | State::Preparing { .. }
            | State::Baking { .. }
            | State::Holding { .. }
            | State::Paused { .. }
            | State::RetiringBatch { .. }
            | State::PreparingBatch { .. }
            | State::HoldingBatch { .. }
            | State::TerminationWait { .. }
            | State::Retiring { .. }
            | State::RollingBack { .. }
            | State::Promoted
            | State::RolledBack { .. }
            | State::RollbackFailed { .. } => self.stay(),
        }
    }

    /// Blue's missing instances cannot be had. An order that failed while green was still draining is given once more when it has.
    pub(super) fn blue_failed(&self, reason: String) -> Decision {
        let State::Restoring { cause, back, .. } = self.state() else { return self.stay() };
        fail(cause, *back, reason)
    }

    /// Blue's instances were not ready in time.
    pub(super) fn restoring_takes_too_long(&self, cause: &Cause, back: Back) -> Decision {
        let limit = format_duration(self.plan().limits().ready_timeout);
        fail(cause, back, format!("blue's missing instances were not ready within {limit}"))
    }

    /// Green has lost its last healthy instance on the way back: what it has kept goes to blue at once.
    pub(super) fn give_green_up(&self, now: Moment, cause: &Cause, back: Back) -> Decision {
        if back.pace == Pace::AtOnce {
            return self.stay();
        }
        let back = Back { pace: Pace::AtOnce, ..back };
        let mut effects = vec![Effect::PublishShare(Share::NONE)];
        effects.extend(release(self.rolled(), back));
        let drain_by = now.after(self.plan().limits().drain_timeout);
        Decision { state: State::ReleasingBatch { cause: cause.clone(), back, drain_by }, effects }
    }

    /// What brings the way back up again after a restart, where it was.
    pub(super) fn go_on_back(&self, now: Moment) -> Decision {
        let (Phase::Mending(back), Some(cause)) = (self.state().phase(), self.state().cause()) else {
            return self.stay();
        };
        let rolling = self.rolled();
        let mut effects = serve_again(rolling, back);
        if matches!(self.state(), State::ReleasingBatch { .. }) {
            effects.extend(release(rolling, back));
            return self.stay_and(effects);
        }
        let keep = rolling.green_on_the_way_back(back);
        effects.push(Effect::Retire { side: Side::Green, keep });
        effects.push(Effect::Provision(Side::Blue, Count::First(rolling.next_blue(back))));
        Decision { state: self.restoring(now, cause, back), effects }
    }

    fn rolled(&self) -> &Rolling {
        self.plan().rolling().expect("only a rolling shift loses a part of blue")
    }
}

/// Lets go what green does not need beside these instances of blue. The order for the rest of blue comes along where nothing waits for it.
fn release(rolling: &Rolling, back: Back) -> Vec<Effect> {
    let drain = Effect::Drain { side: Side::Green, keep: rolling.green_on_the_way_back(back) };
    match back.pace {
        Pace::AtOnce => {
            vec![Effect::Provision(Side::Blue, Count::First(rolling.next_blue(back))), drain]
        }
        Pace::Batches => vec![drain],
    }
}

/// What each fleet has on the way back, after a restart.
fn serve_again(rolling: &Rolling, back: Back) -> Vec<Effect> {
    let mut effects = vec![Effect::Serve(Side::Blue, Count::First(back.blue))];
    let keep = rolling.green_on_the_way_back(back);
    if keep > 0 {
        effects.push(Effect::Provision(Side::Green, Count::First(keep)));
        effects.push(Effect::Serve(Side::Green, Count::First(keep)));
    }
    effects.push(Effect::PublishShare(rolling.share_on_the_way_back(back)));
    effects
}

fn fail(cause: &Cause, back: Back, reason: String) -> Decision {
    Decision {
        state: State::RollbackFailed { cause: cause.clone(), reason, back },
        effects: vec![Effect::Settle, Effect::Finish],
    }
}
