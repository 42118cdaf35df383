//! What happens, made of a seed.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{control::tests::orchestra::Fault, shift::Command};

/// A plan, and what happens to its shift.
#[derive(Clone, Debug)]
pub(super) struct Story {
    /// What the story was made of, and what else is left to chance in it.
    pub(super) seed: u64,
    pub(super) plan: String,
    /// The hours at which it may go on, as a line of the plan; empty where it always may.
    pub(super) hours: String,
    pub(super) fleets: Fleets,
    /// Whether green's instances pass their checks when the shift begins.
    pub(super) checks: Checks,
    pub(super) acts: Vec<Act>,
}

/// Where the instances come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fleets {
    /// They are there.
    Named,
    /// A provider makes them.
    Made,
}

/// What is to become of a shift that is submitted while another runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    Queue,
    Supersede,
}

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Act {
    /// Time passes, with good traffic.
    Pass { millis: u64 },
    /// Time passes, and nobody asks for anything.
    Silence { millis: u64 },
    /// Requests by the published split; of so many of a hundred, green makes failures.
    Serve { requests: u16, green_failures: u16 },
    /// A request begins on each fleet that gets any, and stays open.
    Open,
    /// The open requests end.
    End,
    /// An operator asks.
    Ask(Command),
    /// An operator freezes everything, or lifts that.
    Frost(Frost),
    /// Green's instances fail their checks, or pass them again.
    Green(Checks),
    /// The journal cannot be written, or can again.
    Journal(Disk),
    /// The process is killed at the commit after so many more: before it is durable, or when it is and nothing has come of it.
    KillAt { commits: u8, when: Kill },
    /// The process is killed at the boundary between two effects that it comes to after so many more.
    KillAtPoint { points: u8 },
    /// The process is killed between two things that it does.
    Kill,
    /// Somebody wants another shift, too.
    Submit(Turn),
    /// Somebody wants another shift later.
    Schedule { seconds: i64 },
    /// Somebody wants the version before.
    Undo,
    /// Instances cannot be had as ordered, or can again.
    Provider(Fault),
    /// The wall clock jumps, and the process learns of it when it next looks.
    Clock { hours: i64 },
    /// Nobody looks at the alarms any more.
    Stall,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Checks {
    Pass,
    Fail,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frost {
    Begin,
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Disk {
    Full,
    Well,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kill {
    Before,
    After,
}

impl Story {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let fleets = if random.random_range(0..3) == 0 { Fleets::Made } else { Fleets::Named };
        let plan = plan(&mut random);
        let hours = if random.random_range(0..6) == 0 { hours() } else { String::new() };
        let length = random.random_range(4..30);
        let checks = if random.random_range(0..8) == 0 { Checks::Fail } else { Checks::Pass };
        Self { seed, plan, hours, fleets, checks, acts: (0..length).map(|_| act(&mut random)).collect() }
    }
}

fn plan(random: &mut StdRng) -> String {
    let mut one = |words: &[&str]| words[random.random_range(0..words.len())].to_owned();
    let strategy = one(&[
        r#"{ type = "all_at_once", final_bake = "10s" }"#,
        r#"{ type = "canary", share = "10%", bake = "5s", final_bake = "8s" }"#,
        r#"{ type = "canary", share = "50%", bake = "0s", final_bake = "3s" }"#,
        r#"{ type = "linear", step = "30%", bake = "4s", final_bake = "4s" }"#,
        r#"{ type = "steps", steps = [{ share = "5%", bake = "3s", approval = true }, { share = "40%", bake = "2s" }] }"#,
        r#"{ type = "rolling", batch = 1, bake = "3s" }"#,
        r#"{ type = "rolling", batch = 1, bake = "3s", rollback_batch = 1 }"#,
        r#"{ type = "rolling", batch = "50%", bake = "2s", rollback_batch = 1 }"#,
    ]);
    // The last batch of a rolling shift leaves nothing to keep warm.
    let is_rolling = strategy.contains("rolling");
    let timeout = one(&["40s", "60s", "2m"]);
    let waits: &[&str] = if is_rolling { &["0s"] } else { &["0s", "0s", "5s"] };
    let wait = one(waits);
    let drain = one(&["0s", "2s", "10s"]);
    let ready = one(&["4s", "20s"]);
    let no_data = one(&["hold", "pass", "fail"]);
    let on_restart = one(&["continue", "continue", "roll_back"]);
    format!(
        "strategy = {strategy}\nexecution_timeout = \"{timeout}\"\ntermination_wait = \"{wait}\"\ndrain_timeout = \"{drain}\"\n\
         ready_timeout = \"{ready}\"\nno_data = \"{no_data}\"\non_restart = \"{on_restart}\"\n\
         [[guard]]\nname = \"errors\"\nmetric = \"error_rate\"\nbelow = \"1%\"\n"
    )
}

/// Two of the first five minutes of a day are out of it: most shifts meet one at which they may not go on.
fn hours() -> String {
    let windows = [("00:00", "00:01"), ("00:02", "00:03"), ("00:05", "24:00")];
    let windows = windows.map(|(from, to)| format!("{{ from = \"{from}\", to = \"{to}\", zone = \"UTC\" }}"));
    format!("allowed_hours = [{}]", windows.join(", "))
}

fn act(random: &mut StdRng) -> Act {
    let millis = [0, 50, 500, 2_000, 6_000, 15_000][random.random_range(0..6)];
    match random.random_range(0..124) {
        0..36 => Act::Pass { millis },
        36..42 => Act::Silence { millis },
        42 => Act::Ask(Command::SkipBake { step: random.random_range(0..3) }),
        43 | 44 => Act::Frost(Frost::Begin),
        45 => Act::Frost(Frost::End),
        46..56 => Act::Serve { requests: 200, green_failures: 0 },
        56..59 => Act::Serve { requests: 1_000, green_failures: 100 },
        59..61 => Act::Serve { requests: 400, green_failures: random.random_range(1..60) },
        61..66 => Act::Open,
        66..69 => Act::End,
        69..73 => Act::Ask(Command::Pause),
        73..78 => Act::Ask(Command::Resume),
        78..80 => Act::Ask(Command::Promote),
        80..82 => Act::Ask(Command::Abort),
        82..84 => Act::Green(Checks::Fail),
        84..86 => Act::Green(Checks::Pass),
        86..88 => Act::Journal(Disk::Full),
        88..90 => Act::Journal(Disk::Well),
        90..93 => Act::KillAt { commits: random.random_range(0..4), when: Kill::Before },
        93..96 => Act::KillAt { commits: random.random_range(0..4), when: Kill::After },
        96..98 => Act::Kill,
        100..106 | 116..122 => Act::KillAtPoint { points: random.random_range(0..12) },
        122 | 123 => Act::Schedule { seconds: [1, 20, 90][random.random_range(0..3)] },
        106 | 107 => Act::Submit(Turn::Queue),
        108 => Act::Submit(Turn::Supersede),
        109 | 110 => Act::Undo,
        111 => Act::Provider(Fault::Quota(3)),
        112 => Act::Provider(Fault::Hangs),
        113 => Act::Provider(Fault::Lies),
        114 | 115 => Act::Provider(Fault::None),
        98 => Act::Clock { hours: [-1, 1][random.random_range(0..2)] },
        _ => Act::Stall,
    }
}
