//! The chain of events: what a check finds, and what old journals become.

use super::*;
use crate::store::{Checked, Head, chain};

/// A journal of so many events, chained.
fn chained(place: &Place, events: u64, kept: Kept) -> SqliteJournal {
    let journal = SqliteJournal::open_keeping(&place.path(), kept).unwrap();
    extend(&journal, events);
    journal
}

/// Adds events to the chain.
fn extend(journal: &SqliteJournal, events: u64) {
    let mut last = journal.chain().unwrap().head;
    for _ in 0..events {
        let next = Event { hash: Hash::NONE, ..event(last.id + 1) };
        let next = Event { hash: next.hash_after(last.hash), ..next };
        last = next.head();
        journal.commit(&[Record::Event(next)]).unwrap();
    }
}

/// Where and how the chain of a journal breaks after a change by another tool.
fn broken(change: &str) -> (u64, String) {
    let place = Place::new();
    drop(chained(&place, 9, Kept::default()));
    place.raw().execute_batch(change).unwrap();
    match chain::check(&place.open(), None).unwrap() {
        Checked::Broken { event, how } => (event, how),
        Checked::Whole(_) => panic!("{change} is not found"),
    }
}

#[test]
fn a_chain_that_nobody_touched_is_whole() {
    let place = Place::new();
    let journal = chained(&place, 9, Kept::default());
    let ends = journal.chain().unwrap();
    assert_eq!((ends.anchor.id, ends.head.id), (0, 9));
    assert_eq!(chain::check(&journal, Some(ends.head)).unwrap(), Checked::Whole(ends));
    assert_eq!(chain::check(&place.copy(0).open(), None).unwrap(), Checked::Whole(ends));
}

#[test]
fn an_edit_a_gap_and_a_cut_end_are_found_with_the_events_number() {
    for (change, event, how) in [
        ("UPDATE events SET actor = 'bob' WHERE id = 4", 4, "changed"),
        ("UPDATE events SET reason = NULL WHERE id = 5", 5, "changed"),
        ("UPDATE events SET evidence = '{}' WHERE id = 9", 9, "changed"),
        ("UPDATE events SET at = at + 1 WHERE id = 1", 1, "changed"),
        ("DELETE FROM events WHERE id = 4", 4, "taken out"),
        ("DELETE FROM events WHERE id = 1", 1, "taken out"),
        ("DELETE FROM events WHERE id = 9", 9, "cut off"),
        ("DELETE FROM events WHERE id > 6", 7, "cut off"),
        (
            "UPDATE events SET hash = (SELECT hash FROM events WHERE id = 8) WHERE id = 9; DELETE FROM events WHERE id = 8",
            8,
            "taken out",
        ),
    ] {
        let (found, why) = broken(change);
        assert_eq!(found, event, "{change}: {why}");
        assert!(why.contains(how), "{change}: {why}");
    }
}

#[test]
fn an_end_that_was_cut_off_with_its_traces_is_found_by_who_has_seen_it() {
    let place = Place::new();
    let seen = chained(&place, 9, Kept::default()).chain().unwrap().head;
    let cut = "DELETE FROM events WHERE id > 6;
        UPDATE chain SET head_id = 6, head_hash = (SELECT hash FROM events WHERE id = 6)";
    place.raw().execute_batch(cut).unwrap();
    let journal = place.open();
    assert!(matches!(chain::check(&journal, None).unwrap(), Checked::Whole(_)));
    let found = chain::check(&journal, Some(seen)).unwrap();
    assert!(matches!(found, Checked::Broken { event: 9, .. }), "{found:?}");

    journal.commit(&[Record::EndpointDeleted(name("chat"))]).unwrap();
    extend(&journal, 3);
    let rewritten = Head { hash: Hash::NONE, ..seen };
    let found = chain::check(&journal, Some(rewritten)).unwrap();
    assert!(matches!(found, Checked::Broken { event: 9, .. }), "{found:?}");
}

#[test]
fn what_compaction_leaves_is_a_whole_chain_from_its_anchor() {
    let place = Place::new();
    let journal = chained(&place, 2_500, Kept { events: 700, shifts: 1 });
    let ends = journal.chain().unwrap();
    assert_eq!((ends.anchor.id, ends.head.id), (1_300, 2_500));
    assert_eq!(journal.events_after(0, 1).unwrap()[0].id, 1_301);
    assert_eq!(chain::check(&journal, None).unwrap(), Checked::Whole(ends));
    drop(journal);
    place.raw().execute_batch("DELETE FROM events WHERE id = 1301").unwrap();
    let found = chain::check(&place.open(), None).unwrap();
    assert!(matches!(found, Checked::Broken { event: 1_301, .. }), "{found:?}");
}

#[test]
fn a_journal_of_format_1_goes_on_as_it_was_and_is_chained_from_there() {
    let place = Place::new();
    place.raw().execute_batch(include_str!("../fixtures/format-1.sql")).unwrap();
    let journal = place.open();
    let loaded = journal.load().unwrap();
    let [running] = &loaded.running[..] else { panic!("{:?}", loaded.running) };
    assert!(matches!(running.snapshot.state, State::Baking { step: 0, .. }), "{:?}", running.snapshot);
    assert_eq!(
        (loaded.endpoints.len(), loaded.head, running.actor.as_str()),
        (1, Head { id: 11, hash: Hash::NONE }, "ann")
    );
    assert_eq!(journal.shifts_of(&name("chat"), 10).unwrap().len(), 2);
    let events = journal.events_after(0, 100).unwrap();
    assert_eq!((events.len(), events[5].cause.as_str(), events[5].peer.as_deref()), (11, "abort: odd", None));
    extend(&journal, 3);
    let ends = journal.chain().unwrap();
    assert_eq!((ends.anchor.id, ends.head.id), (11, 14));
    assert_eq!(chain::check(&journal, None).unwrap(), Checked::Whole(ends));
}
