//! What it costs to count an outcome, and to judge what was counted.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion};
use snapback::{
    alarm::{AlarmBook, AlarmPlan, Guard, GuardBound},
    meter::{Bell, FleetMeters, Outcome, Overdue, Verdict, WatchPoint},
    time::Moment,
};

const WORKERS: usize = 8;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    count(&mut criterion);
    read(&mut criterion);
    look(&mut criterion);
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
            let reading = meters.read();
            criterion.bench_function(&format!("alarm/look with {guards} guards, {distance}"), |bencher| {
                bencher.iter_batched_ref(
                    || book.clone(),
                    |book| book.look(black_box(&reading), watch.stamp()).new_bet,
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
    };
    let plan = AlarmPlan { guards: (0..guards).map(guard).collect(), false_alarm, ..AlarmPlan::default() };
    let (mut book, meters) = (AlarmBook::new(&plan, 1, 0), FleetMeters::new(1));
    let watch = WatchPoint::new(&AlarmBook::bounds(&plan), Arc::new(Bell::new()));
    book.begin_step();
    if book.look(&meters.read(), watch.stamp()).new_bet {
        watch.advance();
    }
    (book, watch, meters)
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
        duration: Duration::from_millis(millis),
        bytes_in: 600,
        bytes_out: 1_024,
        overdue: Overdue::default(),
    }
}
