//! Rings under a writer that laps their readers, and what a copy says of its own completeness.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    fleet::Side,
    meter::{Rescue, Verdict},
};

fn part(share: u16) -> Part {
    Part {
        blue: Version::parse("v1").unwrap(),
        green: Some(Version::parse("v2").unwrap()),
        shift: Some(ShiftId::parse("chat-1").unwrap()),
        share: Share::from_basis_points(share).unwrap(),
    }
}

fn record(millis: u64) -> Record {
    Record {
        dealt_at: Moment::from_nanos(millis * 1_000_000),
        side: Side::Green,
        part: 0,
        verdict: Verdict::Success,
        status: Some(200),
        grpc_status: None,
        first_byte: None,
        first_token: None,
        worst_gap: None,
        gaps: None,
        tokens_out: 0,
        duration: Duration::from_millis(5),
        rescue: Some(Rescue::Tried),
    }
}

fn millis(recorded: &Recorded) -> Vec<u64> {
    recorded.records.iter().map(|(record, _)| record.dealt_at.as_nanos() / 1_000_000).collect()
}

/// All words of a record, made from its number so that one of another shows.
fn words(number: u64) -> Words {
    [0, 7, 14, 21, 28, 35].map(|turn| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(turn))
}

#[test]
fn a_reader_that_is_lapped_again_and_again_never_gets_a_torn_record() {
    const LEAST_WRITTEN: u64 = 200_000;
    const LEAST_READ: u64 = 2_000;
    let ring = Ring::new(64);
    let is_over = AtomicBool::new(false);
    let (mut seen, mut lapped) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while number < LEAST_WRITTEN || !is_over.load(Ordering::Relaxed) {
                ring.write(words(number));
                number += 1;
            }
        });
        while seen < LEAST_READ || ring.done.load(Relaxed) < LEAST_WRITTEN {
            let newest = ring.done.load(Relaxed);
            let (copied, _) = ring.copy();
            lapped += u64::from(copied.len() < 64);
            let mut numbers = copied.iter().map(|copy| {
                // The first word tells the number back: the multiplier is odd, so it has an inverse.
                let number = copy[0].wrapping_mul(0xf1de_83e1_9937_733d);
                assert_eq!(*copy, words(number));
                number
            });
            if let Some(first) = numbers.next() {
                assert!(first + 64 >= newest, "{first} {newest}");
                let next = numbers.fold(first, |before, number| {
                    assert_eq!(number, before + 1);
                    number
                });
                assert!(next < ring.done.load(Relaxed));
            }
            seen += copied.len() as u64;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(seen >= LEAST_READ, "{seen} records, of which {lapped} copies were cut");
}

#[test]
fn a_record_that_is_being_written_over_is_thrown_away() {
    let ring = Ring::new(4);
    (0..4).for_each(|number| ring.write(words(number)));
    assert_eq!(ring.copy(), ((0..4).map(words).collect(), true));
    // What a writer has done when it stands in the middle of record 4.
    ring.begun.store(5, Relaxed);
    let (chunk, place) = ring.place(4);
    chunk.get().unwrap()[place][0].store(7, Relaxed);
    assert_eq!(ring.copy(), ((1..4).map(words).collect(), false));
}

#[test]
fn a_copy_has_every_workers_records_in_the_order_of_dealing_with_what_was_in_force() {
    let recorder = Arc::new(Recorder::new(2, 8));
    let first = Recording::to(Arc::clone(&recorder), part(500));
    first.write(0, &record(3));
    first.write(1, &record(1));
    let second = first.under(part(10_000));
    second.write(0, &record(5));
    // A request keeps the route that it was dealt under.
    first.write(1, &record(4));
    let recorded = recorder.read();
    assert_eq!((millis(&recorded), recorded.complete_from), (vec![1, 3, 4, 5], None));
    let shares: Vec<_> = recorded.records.iter().map(|(_, part)| part.share.basis_points()).collect();
    assert_eq!(shares, [500, 500, 500, 10_000]);
    assert_eq!(recorded.records[0].0.rescue, Some(Rescue::Tried));
}

#[test]
fn a_copy_begins_where_every_workers_records_are_complete() {
    let recorder = Arc::new(Recorder::new(2, 8));
    let recording = Recording::to(Arc::clone(&recorder), part(500));
    // The first worker keeps the last four of its ten, the second all of its two.
    (0..10).for_each(|number| recording.write(0, &record(100 + 10 * number)));
    recording.write(1, &record(101));
    recording.write(1, &record(185));
    let recorded = recorder.read();
    // The oldest that is left was dealt at 160 and ended at 165.
    assert_eq!(recorded.complete_from, Some(Moment::from_nanos(165_000_000)));
    assert_eq!(millis(&recorded), [170, 180, 185, 190]);
}

#[test]
fn an_endpoint_without_requests_takes_no_memory_and_one_with_few_takes_little() {
    let recorder = Arc::new(Recorder::new(4, 1 << 20));
    let taken =
        |worker: usize| recorder.rings[worker].chunks.iter().filter(|chunk| chunk.get().is_some()).count();
    let recording = Recording::to(Arc::clone(&recorder), part(0));
    assert_eq!((0..4).map(taken).sum::<usize>(), 0);
    (0..CHUNK as u64).for_each(|number| recording.write(2, &record(number)));
    assert_eq!((0..4).map(taken).collect::<Vec<_>>(), [0, 0, 1, 0]);
}

#[test]
fn records_of_parts_that_are_forgotten_are_left_out() {
    let recorder = Arc::new(Recorder::new(1, 8));
    let mut recording = Recording::to(Arc::clone(&recorder), part(1));
    recording.write(0, &record(1));
    for number in 0..PARTS {
        recording = recording.under(part(2 + u16::try_from(number % 2).unwrap()));
    }
    recording.write(0, &record(2));
    assert_eq!(millis(&recorder.read()), [2]);
}

#[test]
fn what_is_off_records_nothing() {
    let off = Recording::default();
    off.write(usize::MAX, &record(1));
    assert!(!off.is_on() && !off.under(part(1)).is_on());
}
