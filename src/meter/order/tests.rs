//! Rings under a writer that laps their readers, and what is a run.

use super::*;

fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

fn run(order: &DealingOrder) -> (u64, u64) {
    let Run { length, spans: _, dealt } = order.longest_run();
    (length, dealt)
}

#[test]
fn a_run_is_of_requests_dealt_one_after_the_other_on_whichever_worker() {
    let order = DealingOrder::new(2);
    for nanos in 0..10 {
        order.dealt((nanos % 2) as usize, at(nanos));
    }
    assert_eq!(run(&order), (0, 10));
    for nanos in [3, 5, 4] {
        order.failed((nanos % 2) as usize, at(nanos));
    }
    assert_eq!(run(&order), (3, 10), "however they end");
    order.failed(1, at(7));
    assert_eq!(run(&order), (3, 10), "the one between is open, or was well");
    order.failed(0, at(6));
    assert_eq!(run(&order), (5, 10));
}

#[test]
fn requests_of_one_nanosecond_are_told_apart_by_their_number_alone() {
    let order = DealingOrder::new(1);
    (0..4).for_each(|_| order.dealt(0, at(7)));
    (0..3).for_each(|_| order.failed(0, at(7)));
    assert_eq!(run(&order), (3, 4));
    (0..9).for_each(|_| order.failed(0, at(7)));
    assert_eq!(run(&order), (4, 4));
}

#[test]
fn what_is_forgotten_is_no_run_on_any_worker() {
    let order = DealingOrder::new(2);
    let kept = KEPT as u64;
    // The second worker's three failures have one of the first's between them, which is forgotten.
    for nanos in [10, 12, 14] {
        order.dealt(1, at(nanos));
        order.failed(1, at(nanos));
    }
    order.dealt(0, at(11));
    assert_eq!(run(&order), (2, 4));
    (0..kept).for_each(|number| order.dealt(0, at(20 + number)));
    assert_eq!(run(&order), (0, kept + 4));
    order.failed(0, at(11));
    assert_eq!(run(&order), (0, kept + 4), "and its failure comes too late");
    let newest = 20 + kept;
    (newest..newest + 5).for_each(|nanos| order.dealt(0, at(nanos)));
    (newest..newest + 5).for_each(|nanos| order.failed(0, at(nanos)));
    assert_eq!(run(&order), (5, kept + 9));
}

#[test]
fn failures_with_others_between_them_are_a_crowd_of_so_many_requests() {
    let order = DealingOrder::new(2);
    (0..100).for_each(|nanos| order.dealt((nanos % 2) as usize, at(nanos)));
    for nanos in [5, 40, 42, 45, 46, 80] {
        order.failed((nanos % 2) as usize, at(nanos));
    }
    let run = order.longest_run();
    assert_eq!((run.length, &run.spans[..4]), (2, &[5, 7, 41, 76][..]));
    assert!(run.spans[4..].iter().all(|span| *span == 0), "there are six");
}

#[test]
fn an_unknown_worker_is_passed_over() {
    let order = DealingOrder::new(1);
    order.dealt(1, at(1));
    order.failed(1, at(1));
    assert_eq!(run(&order), (0, 0));
}

/// No request of the writer ever fails two in a row, so no reader may see two, lapped or not.
#[test]
fn a_reader_that_is_lapped_never_sees_a_run_that_was_not() {
    let order = DealingOrder::new(1);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for nanos in 0..200_000 {
                order.dealt(0, at(nanos));
                if nanos % 2 == 0 {
                    order.failed(0, at(nanos));
                }
            }
        });
        while !writer.is_finished() {
            assert!(order.longest_run().length <= 1);
        }
    });
    assert_eq!(run(&order), (1, 200_000));
}
