//! How far webhooks have come.

use super::*;
use crate::store::{DeadLetter, Lane, Outbox, Progress};

fn lane(text: &str) -> Lane {
    Lane::Endpoint(name(text))
}

fn dead(event: u64) -> DeadLetter {
    DeadLetter { event, at: WallTime::from_millis(5), attempts: 7, reason: "status 500".to_owned() }
}

/// Two events of chat, one of no endpoint, one of score.
fn journal(place: &Place) -> SqliteJournal {
    let journal = place.open();
    let general = Event { endpoint: None, ..event(3) };
    let score = Event { endpoint: Some(name("score")), ..event(4) };
    journal.commit(&[event(1), event(2), general, score].map(Record::Event)).unwrap();
    journal
}

#[test]
fn a_new_webhook_begins_now_and_goes_on_where_it_was() {
    let place = Place::new();
    let outbox = journal(&place);
    assert_eq!(outbox.cursors("ops").unwrap().origin, 4);
    outbox.commit(&[Record::Event(event(5))]).unwrap();
    outbox.advance("ops", &[Progress::Done { lane: lane("chat"), event: 5 }]).unwrap();
    outbox.advance("ops", &[Progress::Done { lane: Lane::General, event: 4 }]).unwrap();
    drop(outbox);
    let outbox = place.open();
    let cursors = outbox.cursors("ops").unwrap();
    assert_eq!((cursors.origin, cursors.lanes.len()), (4, 2));
    assert_eq!((cursors.lanes[&lane("chat")], cursors.lanes[&Lane::General]), (5, 4));
    assert_eq!(outbox.cursors("other").unwrap().origin, 5);
}

#[test]
fn lanes_are_endpoints_and_what_is_of_none() {
    let place = Place::new();
    let outbox = journal(&place);
    let newest = outbox.newest().unwrap();
    assert_eq!(
        newest.into_iter().collect::<Vec<_>>(),
        [(Lane::General, 3), (lane("chat"), 2), (lane("score"), 4)]
    );
    let ids = |lane: &Lane, after| -> Vec<u64> {
        outbox.events_of(lane, after, 10).unwrap().iter().map(|event| event.id).collect()
    };
    assert_eq!(
        (ids(&lane("chat"), 0), ids(&lane("chat"), 1), ids(&Lane::General, 0)),
        (vec![1, 2], vec![2], vec![3])
    );
    assert_eq!(outbox.event(4).unwrap().unwrap().endpoint, Some(name("score")));
    assert_eq!(outbox.event(9).unwrap(), None);
}

#[test]
fn dead_letters_stay_until_they_are_delivered_and_are_bounded() {
    let place = Place::new();
    let outbox = place.open();
    outbox.advance("ops", &[Progress::Dead(dead(1)), Progress::Dead(dead(2))]).unwrap();
    outbox.advance("ops", &[Progress::Buried { event: 1 }]).unwrap();
    assert_eq!(outbox.dead_letters("ops").unwrap(), [dead(2)]);
    assert_eq!(outbox.dead_letters("other").unwrap(), []);
    let many: Vec<_> = (3..=1_005).map(|event| Progress::Dead(dead(event))).collect();
    outbox.advance("ops", &many).unwrap();
    let left = outbox.dead_letters("ops").unwrap();
    assert_eq!((left.len(), left[0].event), (1_000, 6));
}

#[test]
fn webhooks_that_are_gone_leave_nothing() {
    let place = Place::new();
    let outbox = place.open();
    for webhook in ["ops", "old"] {
        outbox.cursors(webhook).unwrap();
        outbox.advance(webhook, &[Progress::Dead(dead(1))]).unwrap();
    }
    outbox.keep_only(&["ops".to_owned()]).unwrap();
    assert_eq!(
        (outbox.dead_letters("ops").unwrap().len(), outbox.dead_letters("old").unwrap().len()),
        (1, 0)
    );
}

#[test]
fn a_webhook_that_compaction_overtakes_gets_dead_letters_for_what_it_misses_and_goes_on_behind_them() {
    let place = Place::new();
    let kept = Kept { events: 1_000, ..Kept::default() };
    let outbox = SqliteJournal::open_keeping(&place.path(), kept).unwrap();
    for webhook in ["slow", "quick"] {
        outbox.cursors(webhook).unwrap();
    }
    let event = |id: u64| match id {
        1..=4 => event(id),
        5..=9 => Event { endpoint: Some(name("score")), ..event(id) },
        _ => Event { endpoint: None, ..event(id) },
    };
    outbox.commit(&(1..=1_999).map(|id| Record::Event(event(id))).collect::<Vec<_>>()).unwrap();
    let done = |lane: &Lane, event: u64| Progress::Done { lane: lane.clone(), event };
    outbox.advance("slow", &[done(&lane("chat"), 4), done(&lane("score"), 7)]).unwrap();
    let all = [done(&lane("chat"), 4), done(&lane("score"), 9), done(&Lane::General, 1_000)];
    outbox.advance("quick", &all).unwrap();
    outbox.commit(&[Record::Event(event(2_000))]).unwrap();

    let letters = outbox.dead_letters("slow").unwrap();
    let told: Vec<_> = letters.iter().map(|letter| (letter.event, letter.reason.as_str())).collect();
    let reason = |what: &str| {
        format!("{what}, were compacted away before they were delivered: raise [state] keep_events")
    };
    let (score, general) =
        (reason("2 events of endpoint score, 8 to 9"), reason("991 events of no endpoint, 10 to 1000"));
    assert_eq!(told, [(9, score.as_str()), (1_000, general.as_str())]);
    assert_eq!((letters[0].at, letters[0].attempts), (event(2_000).at, 0));
    let cursors = outbox.cursors("slow").unwrap();
    assert_eq!([lane("chat"), lane("score"), Lane::General].map(|lane| cursors.lanes[&lane]), [4, 9, 1_000]);
    assert_eq!(outbox.dead_letters("quick").unwrap(), []);
    assert_eq!(outbox.cursors("quick").unwrap().lanes.len(), 3);
}
