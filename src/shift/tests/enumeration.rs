//! All sequences of inputs up to some length, over small plans of every strategy.
//!
//! Sequences that lead to the same shift are one from there on, which is what makes them few enough. An input comes either at the same
//! moment as the one before or at the moment that the engine asked for, since to the engine no other moment differs from these.
//! The engine's own checks run at every step.

use std::collections::{BTreeMap, HashSet};

use super::{account::Account, *};
use crate::{
    shift::{Cause, Command, Effect, Input, Shift, Snapshot, Standing},
    time::Moment,
    weight::Share,
};

/// Inputs after the start. Long enough for a rolling shift to get through two batches and for what was begun there to come back.
const LENGTH: usize = 9;

/// A shift, and what its effects have done so far.
#[derive(Clone)]
struct Node {
    shift: Shift,
    now: Moment,
    share: Share,
    account: Option<Account>,
}

#[test]
fn no_sequence_of_inputs_breaks_an_invariant() {
    for (name, plan) in plans() {
        let mut reached = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut frontier = vec![Node::new(plan)];
        for _ in 0..LENGTH {
            let mut next = Vec::new();
            for node in &frontier {
                for (is_late, input) in inputs() {
                    let mut after = node.clone();
                    if is_late && let Some(due) = node.shift.wake_at() {
                        after.now = due.max(node.now);
                    }
                    after.feed(&input);
                    *reached.entry(after.shift.state().as_str()).or_insert(0_u32) += 1;
                    if seen.insert(after.key()) {
                        next.push(after);
                    }
                }
            }
            frontier = next;
        }
        let ends: Vec<_> = reached.keys().copied().collect();
        assert!(ends.contains(&"promoted") && ends.contains(&"rolled_back"), "{name} reaches {ends:?}");
        let rolls = name.starts_with("rolling");
        assert_eq!(rolls, ends.contains(&"rollback_failed"), "{name} reaches {ends:?}");
    }
}

impl Node {
    fn new(plan: ShiftPlan) -> Self {
        let (now, account) = (Moment::default(), Account::new(&plan));
        let mut node = Self { shift: Shift::new(plan, now), now, share: Share::NONE, account };
        node.feed(&Input::Start);
        node
    }

    fn feed(&mut self, input: &Input) {
        if matches!(input, Input::Restarted { .. }) {
            let snapshot = self.shift.snapshot(self.now);
            self.shift = Shift::restore(self.shift.plan().clone(), &snapshot, self.now);
        }
        let (before, after_snap) = (self.shift.share(), self.shift.share_after_snap());
        let had_way_back = self.shift.state().has_way_back();
        let Ok(effects) = self.shift.step(self.now, input.clone()) else { return };
        if let Some(account) = &mut self.account {
            account.see(input);
            effects.iter().for_each(|effect| account.carry_out(effect));
            account.check(&self.shift);
        }
        let cause = self.shift.state().cause().filter(|_| had_way_back);
        let is_gone = cause == Some(&Cause::GreenGone);
        assert!(
            cause.is_none() || is_gone || self.shift.share() == after_snap,
            "an evaluator that acts first leaves green what the engine leaves it"
        );
        for effect in effects {
            if let Effect::PublishShare(share) = effect {
                let is_restart = matches!(input, Input::Restarted { .. });
                assert!(!is_restart || share <= before, "a restart gives green no more than it had");
                self.share = share;
            }
        }
        assert_eq!(self.share, self.shift.share(), "what was published is what is told");
    }

    /// What the future depends on. Restarts are only counted, and the time so far matters by what is left of it.
    fn key(&self) -> (String, Option<Account>, Share) {
        let Snapshot { state, elapsed, step: _, restarts: _, bakes, onward } = self.shift.snapshot(self.now);
        (format!("{state:?} {elapsed:?} {bakes:?} {onward:?}"), self.account, self.share)
    }
}

/// Each at once, and at the moment that the engine has asked for.
fn inputs() -> Vec<(bool, Input)> {
    let breach = Standing::Breached(Cause::Alarm { name: "errors".to_owned(), evidence: String::new() });
    let held = Standing::Held { why: String::new() };
    let standings = [Standing::Clear, Standing::InsufficientData, held, breach];
    let mut inputs = vec![
        Input::Start,
        Input::GreenFailed { reason: String::new() },
        Input::BlueReady,
        Input::BlueFailed { reason: String::new() },
        Input::GreenGone,
        Input::Drained(crate::fleet::Side::Blue),
        Input::Drained(crate::fleet::Side::Green),
        Input::Restarted { downtime: Duration::ZERO },
    ];
    for standing in standings {
        inputs.push(Input::GreenReady(standing.clone()));
        inputs.push(Input::Wake(standing.clone()));
        for command in [
            Command::Pause,
            Command::Resume,
            Command::Promote,
            Command::SkipBake { step: 0 },
            Command::SkipBake { step: 1 },
            Command::Abort,
        ] {
            inputs.push(Input::Command(command, standing.clone()));
        }
    }
    inputs.iter().flat_map(|input| [(false, input.clone()), (true, input.clone())]).collect()
}

/// Few waits of few lengths, so that sequences meet again.
fn plans() -> Vec<(&'static str, ShiftPlan)> {
    let (bake, final_bake) = (span("10s"), span("10s"));
    let limits = ShiftLimits {
        execution_timeout: span("1m"),
        drain_timeout: span("10s"),
        ready_timeout: span("10s"),
        ..ShiftLimits::default()
    };
    let waits = ShiftLimits { termination_wait: span("10s"), no_data: NoData::Pass, ..limits };
    let fails = ShiftLimits { no_data: NoData::Fail, on_restart: OnRestart::RollBack, ..limits };
    let of = |strategy, limits| ShiftPlan::new(strategy, limits).unwrap();
    let rolls = |batch, back: Option<u32>, limits, (blue, green)| {
        let strategy =
            Strategy::Rolling { batch: instances(batch), bake, rollback_batch: back.map(instances) };
        of(strategy, limits).sized(sizes(blue, green)).unwrap()
    };
    let approved = Strategy::Steps { steps: vec![Step::with_approval(share("50%"), bake)], final_bake: None };
    vec![
        ("all_at_once", of(Strategy::AllAtOnce { final_bake }, waits)),
        ("canary", of(Strategy::Canary { share: share("10%"), bake, final_bake }, fails)),
        ("linear", of(Strategy::Linear { step: share("50%"), bake, final_bake }, limits)),
        ("steps", of(approved, waits)),
        ("rolling at once", rolls(1, None, limits, (2, 2))),
        ("rolling in batches", rolls(1, Some(1), limits, (3, 3))),
        ("rolling to a larger fleet", rolls(1, Some(1), fails, (2, 3))),
        (
            "rolling to a smaller fleet",
            rolls(1, Some(2), ShiftLimits { no_data: NoData::Pass, ..limits }, (3, 2)),
        ),
    ]
}
