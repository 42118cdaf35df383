//! What it costs to count an outcome, and to judge what was counted.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion};
use snapback::{
    alarm::{
        AlarmBook, AlarmPlan, Dealing, Guard, GuardBound, Regression, RegressionBound, Sight, Tails,
        Tolerance,
    },
    fleet::Side,
    meter::{
        Bell, FleetMeters, Outcome, Overdue, Part, PassedMarks, Reading, Record, Recorder, Recording, Run,
        Timing, Verdict, WatchPoint,
    },
    name::Version,
    time::Moment,
    weight::Share,
};

const WORKERS: usize = 8;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    count(&mut criterion);
    record(&mut criterion);
    read(&mut criterion);
    look(&mut criterion);
    round(&mut criterion);
    criterion.final_summary();
}

fn count(criterion: &mut Criterion) {
    let meters = FleetMeters::new(WORKERS);
    let watch = WatchPoint::new(&[Duration::from_millis(250)], Arc::new(Bell::new()));
    let (shard, mut millis) = (meters.shard(0), 0);
    criterion.bench_function("meter/dealt and settled", |bencher| {
        bencher.iter(|| {
            millis = (millis + 37) % 500;
            let stamp = watch.stamp();
            shard.dealt(stamp, Moment::from_nanos(black_box(1)));
            shard.settled(stamp, Some(&watch), black_box(&outcome(Verdict::Success, millis)));
        });
    });
}

/// The same with the outcome recorded as well: all that an outcome costs a worker.
fn record(criterion: &mut Criterion) {
    let meters = FleetMeters::new(WORKERS);
    let watch = WatchPoint::new(&[Duration::from_millis(250)], Arc::new(Bell::new()));
    let blue = Version::parse("v1").expect("a version");
    let part = Part { blue, green: None, shift: None, share: Share::NONE };
    let recording = Recording::to(Arc::new(Recorder::new(WORKERS, 16_384)), part);
    let (shard, mut millis) = (meters.shard(0), 0);
    criterion.bench_function("meter/dealt, settled and recorded", |bencher| {
        bencher.iter(|| {
            millis = (millis + 37) % 500;
            let (stamp, now) = (watch.stamp(), Moment::from_nanos(black_box(1)));
            let outcome = outcome(Verdict::Success, millis);
            shard.dealt(stamp, now);
            shard.settled(stamp, Some(&watch), black_box(&outcome));
            recording.write(0, &Record::of(&outcome, now, Side::Blue));
        });
    });
}

fn read(criterion: &mut Criterion) {
    let meters = FleetMeters::new(WORKERS);
    criterion.bench_function("meter/read of 8 workers", |bencher| bencher.iter(|| black_box(&meters).read()));
}

/// A round in which 50 requests settled. Usually the evidence is far below the threshold and need not be summed up; with a threshold of
/// ln 2 it always must.
fn look(criterion: &mut Criterion) {
    for guards in [1, 10] {
        for (distance, odds) in [("far", 1_000.0), ("near", 2.0)] {
            let (book, watch, meters) = shift(guards, f64::from(guards) / odds);
            (0..50).for_each(|_| settle(&meters, &watch));
            let (reading, blue) = (meters.read(), Reading::default());
            let tails = book.edges().read(&meters, &meters);
            criterion.bench_function(&format!("alarm/look with {guards} guards, {distance}"), |bencher| {
                bencher.iter_batched_ref(
                    || book.clone(),
                    |book| book.look(sight(black_box(&reading), &blue, &tails, &watch)).new_bet,
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn shift(guards: u16, false_alarm: f64) -> (AlarmBook, WatchPoint, FleetMeters) {
    let guard = |place| Guard {
        name: format!("guard-{place}"),
        bound: GuardBound::ErrorRate { below: 0.01 * f64::from(place + 1) },
        burst: None,
    };
    let plan = AlarmPlan { guards: (0..guards).map(guard).collect(), false_alarm, ..AlarmPlan::default() };
    let blue = Reading::default();
    let (mut book, meters) = (AlarmBook::new(&plan, 1, 0, Dealing::Deck, &blue), FleetMeters::new(1));
    let watch = WatchPoint::new(&AlarmBook::bounds(&plan), Arc::new(Bell::new()));
    book.begin_step(Share::ALL);
    let tails = book.edges().read(&meters, &meters);
    if book.look(sight(&meters.read(), &blue, &tails, &watch)).new_bet {
        watch.advance();
    }
    (book, watch, meters)
}

/// A round as the evaluator makes it, over 100 endpoints with 10 alarms each, four of them regressions, one of these on latency at four
/// quantiles: both fleets' meters of 8 workers are read, and 50 of green's requests and 450 of blue's settled since the last.
fn round(criterion: &mut Criterion) {
    let shifts: Vec<_> = (0..100).map(|_| Shift::new()).collect();
    criterion.bench_function("alarm/round of 100 endpoints with 10 alarms", |bencher| {
        bencher.iter_batched_ref(
            || {
                shifts.iter().for_each(Shift::serve);
                shifts.iter().map(|shift| shift.book.clone()).collect::<Vec<_>>()
            },
            |books| {
                for (shift, book) in shifts.iter().zip(books) {
                    black_box(shift.look(book));
                }
            },
            BatchSize::PerIteration,
        );
    });
}

struct Shift {
    green: FleetMeters,
    blue: FleetMeters,
    watch: WatchPoint,
    book: AlarmBook,
}

impl Shift {
    fn new() -> Self {
        let guard = |place: u16| Guard {
            name: format!("guard-{place}"),
            bound: match place {
                0..3 => GuardBound::ErrorRate { below: 0.01 * f64::from(place + 1) },
                _ => GuardBound::Latency {
                    quantile: 0.99,
                    below: Duration::from_millis(u64::from(place) * 200),
                },
            },
            burst: None,
        };
        let tolerance = Tolerance::Ratio(1.5);
        let bounds = [
            RegressionBound::ErrorRate { tolerance },
            RegressionBound::ClientErrorRate { tolerance },
            RegressionBound::ErrorRate { tolerance: Tolerance::Points(0.01) },
            RegressionBound::Latency { quantile: None, ratio: 1.2 },
        ];
        let regression = |bound| Regression { name: format!("{bound:?}"), bound, burst: None };
        let plan = AlarmPlan {
            guards: (0..6).map(guard).collect(),
            regressions: bounds.into_iter().map(regression).collect(),
            ..AlarmPlan::default()
        };
        let (green, blue) = (FleetMeters::new(WORKERS), FleetMeters::new(WORKERS));
        let watch = WatchPoint::new(&AlarmBook::bounds(&plan), Arc::new(Bell::new()));
        let book = AlarmBook::new(&plan, 2, 0, Dealing::Deck, &blue.read());
        let mut shift = Self { green, blue, watch, book };
        shift.serve();
        shift.book.begin_step(Share::from_basis_points(1_000).expect("a tenth is a share"));
        shift.book.mark(Timing::Latency, &shift.green.latency(), &shift.blue.latency());
        shift
    }

    fn serve(&self) {
        (0..50).for_each(|_| settle(&self.green, &self.watch));
        (0..450).for_each(|_| settle(&self.blue, &self.watch));
    }

    fn look(&self, book: &mut AlarmBook) -> bool {
        let (green, blue) = (self.green.read(), self.blue.read());
        let tails = book.edges().read(&self.green, &self.blue);
        book.look(sight(&green, &blue, &tails, &self.watch)).new_bet
    }
}

fn sight<'a>(green: &'a Reading, blue: &'a Reading, tails: &'a Tails, watch: &WatchPoint) -> Sight<'a> {
    Sight { green, blue, tails, stamp: watch.stamp(), run: Run::default() }
}

fn settle(meters: &FleetMeters, watch: &WatchPoint) {
    meters.shard(0).dealt(watch.stamp(), Moment::from_nanos(1));
    meters.shard(0).settled(watch.stamp(), Some(watch), &outcome(Verdict::Success, 20));
}

fn outcome(verdict: Verdict, millis: u64) -> Outcome {
    Outcome {
        verdict,
        status: Some(200),
        grpc_status: None,
        first_byte: Some(Duration::from_millis(millis / 2)),
        first_token: None,
        tokens_out: 0,
        duration: Duration::from_millis(millis),
        bytes_in: 600,
        bytes_out: 1_024,
        overdue: Overdue::default(),
        passed: PassedMarks::default(),
        is_warm_up: false,
    }
}
