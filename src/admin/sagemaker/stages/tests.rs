//! Whole deployments as clients see them, told by a clock that is a number.

use std::{num::NonZeroU32, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    admin::sagemaker::deployment::{Count, Deployment, Incoming},
    fleet::Side,
    shift::{Cause, Input, Shift, Standing},
    time::Moment,
};

/// A deployment under a virtual clock, in seconds.
struct Told {
    engine: Shift,
    seconds: u64,
    since: u64,
}

/// Status of the endpoint, current count, status and message of the variant that comes in, share of green.
type Row = (&'static str, u32, Option<&'static str>, Option<String>, String);

impl Told {
    fn new(document: &serde_json::Value, asked: u32) -> Self {
        let asked = NonZeroU32::new(asked).unwrap();
        let counts = vec![Count { variant: "all".to_owned(), asked, there: asked }];
        let fleet = Incoming { counts, ready_timeout: Duration::from_secs(240) };
        let plan = Deployment::read(Some(document)).unwrap().plan(&fleet).unwrap();
        let mut told = Self { engine: Shift::new(plan, moment(0)), seconds: 0, since: 0 };
        told.feed(Input::Start);
        told
    }

    fn feed(&mut self, input: Input) {
        let before = self.engine.state().clone();
        self.engine.step(moment(self.seconds), input).unwrap();
        if before != *self.engine.state() {
            self.since = self.seconds;
        }
    }

    fn ready(&mut self) {
        self.feed(Input::GreenReady(Standing::Clear));
    }

    /// Time passes, and the engine is woken when it wants to be.
    fn pass(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.feed(Input::Wake(Standing::Clear));
    }

    fn alarm(&mut self) {
        let cause = Cause::Alarm { name: "slow".to_owned(), evidence: "p99 was 900 ms".to_owned() };
        self.feed(Input::Wake(Standing::Breached(cause)));
    }

    fn stage(&self, after_millis: i64) -> Stage {
        let scene = Scene {
            state: self.engine.state(),
            plan: self.engine.plan(),
            since: i64::try_from(self.since).unwrap() * 1_000,
            now: i64::try_from(self.seconds).unwrap() * 1_000 + after_millis,
            blue: 3,
            green: 3,
            there: 3,
            held: None,
        };
        scene.stage()
    }

    fn row(&self, after_millis: i64) -> Row {
        let Stage { status, live: _, pending } = self.stage(after_millis);
        let share = self.engine.share().to_string();
        let (word, message) = pending.status.map(|status| (status.word, status.message)).unzip();
        (status, pending.instances, word, message, share)
    }
}

fn moment(seconds: u64) -> Moment {
    Moment::from_nanos((seconds + 1) * 1_000_000_000)
}

fn row(status: &'static str, count: u32, word: &'static str, message: &str, share: &str) -> Row {
    (status, count, Some(word), Some(message.to_owned()), share.to_owned())
}

fn canary() -> serde_json::Value {
    json!({
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {
                "Type": "CANARY",
                "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1},
                "WaitIntervalInSeconds": 300,
            },
            "TerminationWaitInSeconds": 120,
            "MaximumExecutionTimeoutInSeconds": 1_800,
        },
    })
}

/// The worked timeline of AWS's own canary sample: one of three, 300 s, 120 s.
#[test]
fn a_canary_shows_every_stage_at_its_moment() {
    let mut told = Told::new(&canary(), 3);
    assert_eq!(told.row(0), row("Updating", 0, "Creating", "Launching 3 instance(s).", "0%"));
    told.seconds = 40;
    told.ready();
    let activating = "Activating traffic on canary capacity of 1 instance(s).";
    assert_eq!(told.row(0), row("Updating", 1, "ActivatingTraffic", activating, "33.33%"));
    let baking = "Baking for 300 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s).";
    assert_eq!(told.row(1_000), row("Updating", 1, "Baking", baking, "33.33%"));
    told.pass(299);
    assert_eq!(told.row(999), row("Updating", 1, "Baking", baking, "33.33%"));
    told.pass(1);
    let activating = "Activating traffic on full capacity of 3 instance(s).";
    assert_eq!(told.row(0), row("Updating", 3, "ActivatingTraffic", activating, "100%"));
    let baking = "Baking for 120 seconds (TerminationWaitInSeconds) with traffic enabled on full capacity of 3 instance(s).";
    assert_eq!(told.row(1_000), row("Updating", 3, "Baking", baking, "100%"));
    told.pass(120);
    let stage = told.stage(0);
    assert_eq!((stage.status, stage.pending), ("Updating", Part { instances: 3, status: None }));
    let live = stage.live.status.unwrap();
    assert_eq!((live.word, live.message.as_str()), ("Deleting", "Terminating 3 instance(s)."));
    told.feed(Input::Drained(Side::Blue));
    assert_eq!(told.engine.state(), &State::Promoted);
    assert_eq!(told.seconds, 40 + 300 + 120);
}

#[test]
fn an_alarm_at_200_seconds_takes_everything_back_at_once() {
    let mut told = Told::new(&canary(), 3);
    told.ready();
    told.pass(200);
    told.alarm();
    let message = "Terminating 3 instance(s). Rolling back: alarm slow: p99 was 900 ms.";
    assert_eq!(told.row(0), row("RollingBack", 0, "Deleting", message, "0%"));
    told.feed(Input::Drained(Side::Green));
    assert!(matches!(told.engine.state(), State::RolledBack { .. }));
}

#[test]
fn a_linear_deployment_of_a_third_has_three_steps_and_bakes_between_them() {
    let mut told = Told::new(
        &json!({
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "LINEAR",
                    "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 33},
                    "WaitIntervalInSeconds": 180,
                },
                "TerminationWaitInSeconds": 120,
            },
        }),
        3,
    );
    told.ready();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (_, count, _, message, share) = told.row(1_000);
        seen.push((count, share, message.unwrap().split(" with").next().unwrap().to_owned()));
        told.pass(180);
    }
    let waits = ["(WaitIntervalInSeconds)", "(WaitIntervalInSeconds)", "(TerminationWaitInSeconds)"];
    let expected = [(1, "33.33%", 180), (2, "66.67%", 180), (3, "100%", 120)];
    let expected = expected.iter().zip(waits);
    let expected: Vec<_> = expected
        .map(|((count, share, wait), what)| {
            (*count, (*share).to_owned(), format!("Baking for {wait} seconds {what}"))
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_rolling_deployment_brings_and_lets_go_one_instance_at_a_time() {
    let rolling = json!({
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 33},
            "WaitIntervalInSeconds": 180,
        },
    });
    let mut told = Told::new(&rolling, 3);
    assert_eq!(told.row(0), row("Updating", 0, "Creating", "Launching 1 instance(s).", "0%"));
    told.ready();
    let baking = "Baking for 180 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s).";
    assert_eq!(told.row(1_000), row("Updating", 1, "Baking", baking, "33.34%"));
    assert_eq!(told.stage(1_000).live.instances, 3);
    told.pass(180);
    let live = told.stage(0).live;
    assert_eq!((live.instances, live.status.unwrap().message.as_str()), (2, "Terminating 1 instance(s)."));
    told.feed(Input::Drained(Side::Blue));
    assert_eq!(told.row(0), row("Updating", 1, "Creating", "Launching 1 instance(s).", "33.34%"));
    told.ready();
    assert_eq!((told.stage(1_000).live.instances, told.stage(1_000).pending.instances), (2, 2));
    told.alarm();
    let stage = told.stage(0);
    assert_eq!((stage.status, stage.live.status.unwrap().word), ("RollingBack", "Updating"));
}

#[test]
fn a_capacity_below_what_was_asked_for_is_said() {
    let told = Told::new(&canary(), 3);
    let scene = Scene {
        state: told.engine.state(),
        plan: told.engine.plan(),
        since: 0,
        now: 0,
        blue: 3,
        green: 3,
        there: 1,
        held: None,
    };
    let message = scene.stage().pending.status.unwrap().message;
    assert_eq!(message, "Launching 3 instance(s). The model names 1 instance(s), so that is the capacity.");
}
