//! Control in a seeded world: the real engine, driver, evaluator, alarms and recovery, on a clock that costs no time.
//!
//! A seed makes a plan, for instances that are there or that a provider makes, and a story of what happens to it: traffic good and bad,
//! operators who command, freeze, queue and undo, instances that fall ill, a provider that fails, hangs or lies, a journal that cannot be
//! written, an evaluator that stalls, a process that is killed before or after any commit and any effect, a wall clock that jumps. The laws
//! are checked all the time; see [`laws`]. A story that breaks one is cut down to the shortest that still does, and printed.
//!
//! Part of the library's unit tests, so that it reaches what control keeps to itself: `cargo test --lib sim::`. `SNAPBACK_SIM_SECONDS`
//! says how long fresh seeds are tried besides the fixed ones, `SNAPBACK_SIM_SEED` runs one seed alone and prints its transcript.

mod laws;
mod setting;
mod stage;
mod story;

use std::{
    collections::BTreeMap,
    env, thread,
    time::{Duration, Instant},
};

use self::{
    stage::{Told, tell},
    story::Story,
};

/// Enough to come to every end there is.
const FIXED_SEEDS: u64 = 300;

/// What has to happen among them, so that no law holds for want of a story.
const HAPPENS: [&str; 47] = [
    "another shift begins",
    "checks Fail",
    "clock back",
    "clock forward",
    "died after commit",
    "died before BeginStep",
    "died before Drain",
    "died before Finish",
    "died before PublishShare",
    "died before commit",
    "died before news",
    "died while it started",
    "disk Full",
    "ended aborted",
    "ended alarm",
    "ended evaluator_stalled",
    "ended execution_timeout",
    "ended green_gone",
    "ended green_not_ready",
    "ended no_data",
    "ended promoted",
    "ended restart",
    "evaluator stalled",
    "frost Begin",
    "frost End",
    "granted abort",
    "granted pause",
    "granted promote",
    "granted resume",
    "granted skip the bake",
    "killed between acts",
    "out of hours",
    "paused between steps",
    "provider Hangs",
    "provider Lies",
    "provider Quota(3)",
    "scheduled",
    "state holding",
    "state paused",
    "state preparing_batch",
    "state releasing_batch",
    "state restoring",
    "state retiring_batch",
    "state termination_wait",
    "submitted to Queue",
    "submitted to Supersede",
    "undone",
];

#[test]
fn whatever_happens_to_a_shift_the_laws_hold_and_it_ends() {
    if let Ok(seed) = env::var("SNAPBACK_SIM_SEED") {
        let told = tell(&Story::new(seed.parse().expect("SNAPBACK_SIM_SEED is a number")));
        println!("{}", told.transcript.join("\n"));
        assert_eq!(told.broken, None);
        return;
    }
    let happened = tell_all(0..FIXED_SEEDS);
    let missing: Vec<_> = HAPPENS.iter().filter(|kind| !happened.contains_key(**kind)).collect();
    assert!(missing.is_empty(), "what never happened: {missing:#?}, of {happened:#?}");
}

#[test]
fn a_seed_tells_the_same_story_each_time_down_to_what_is_written() {
    for seed in FIXED_SEEDS..FIXED_SEEDS + 30 {
        let [one, other] = [(); 2].map(|()| tell(&Story::new(seed)));
        assert_eq!(one.transcript, other.transcript, "seed {seed}");
        assert_eq!(one.journal.commits(), other.journal.commits(), "seed {seed}");
    }
}

#[test]
fn fresh_seeds_hold_too() {
    let seconds = env::var("SNAPBACK_SIM_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(1);
    let limit = Duration::from_secs(seconds);
    let first: u64 = rand::random::<u64>() >> 16;
    let workers: u64 = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let told: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|place| scope.spawn(move || tell_until(first + place, workers, limit)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a story failed; it is printed above")).sum()
    });
    println!("{told} shifts in {seconds} s, seeds from {first}");
    assert!(told > 0);
}

/// Tells stories for so long, and says how many.
#[expect(clippy::disallowed_methods, reason = "how long the test runs is no part of what it tests")]
fn tell_until(first: u64, stride: u64, limit: Duration) -> u64 {
    let (began, mut told) = (Instant::now(), 0);
    while began.elapsed() < limit {
        tell_all(std::iter::once(first + told * stride));
        told += 1;
    }
    told
}

/// Tells these stories, and says how often each kind of thing happened.
fn tell_all(seeds: impl IntoIterator<Item = u64>) -> BTreeMap<String, usize> {
    let mut happened = BTreeMap::new();
    for seed in seeds {
        let story = Story::new(seed);
        let told = tell(&story);
        if let Some(broken) = told.broken {
            let shortest = shortest(story);
            panic!(
                "seed {seed}: {broken}\nThe shortest story that breaks it:\n{}",
                shortest.transcript.join("\n")
            );
        }
        *happened.entry(format!("ended {}", told.end)).or_default() += 1;
        for (kind, times) in told.happened {
            *happened.entry(kind).or_default() += times;
        }
    }
    happened
}

/// Leaves out of a failing story what it does not need for failing: halves, quarters, and so on down to single acts.
fn shortest(mut story: Story) -> Told {
    let mut length = story.acts.len() / 2;
    let mut shortest = tell(&story);
    while length > 0 {
        let mut place = 0;
        while place < story.acts.len() {
            let mut shorter = story.clone();
            shorter.acts.drain(place..(place + length).min(story.acts.len()));
            let told = tell(&shorter);
            if told.broken.is_some() {
                (story, shortest) = (shorter, told);
            } else {
                place += length;
            }
        }
        length /= 2;
    }
    shortest
}
