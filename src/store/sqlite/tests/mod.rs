//! What the journal keeps, what it refuses, and what is left after the worst.

use std::{fs, sync::Arc};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::{
    config::{EndpointSpec, PlanSpec},
    fleet::{
        Address, CertificateFiles, FleetSpec, InstanceSpec, Member, Protocol, UpstreamTls, VariantSpec,
        VariantWeight, Weight,
    },
    name::{FleetId, VariantName, Version},
    shift::{Back, Bakes, Cause, Onward, Pace, PauseReason, Sizes, Snapshot, State},
    store::{EndpointRecord, FleetRecord, Freeze, Hash, Moments, Origin},
    time::{Moment, WallTime},
    weight::Share,
};

mod chain;
mod outbox;
mod resources;

const EVENT_COUNT_LIMIT: usize = 1_000;

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("snapback.db")
    }

    fn open(&self) -> SqliteJournal {
        SqliteJournal::open(&self.path()).unwrap()
    }

    fn refusal(&self) -> StoreError {
        SqliteJournal::open(&self.path()).unwrap_err()
    }

    /// The file as another tool opens it.
    fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// What a machine finds that lost its power now, with the last `lost` bytes of the log not on the disk yet.
    fn copy(&self, lost: usize) -> Self {
        let copy = Self::new();
        fs::copy(self.path(), copy.path()).unwrap();
        let mut log = fs::read(self.path().with_extension("db-wal")).unwrap();
        log.truncate(log.len().saturating_sub(lost));
        fs::write(copy.path().with_extension("db-wal"), log).unwrap();
        copy
    }
}

fn name(text: &str) -> EndpointName {
    EndpointName::parse(text).unwrap()
}

fn id(text: &str) -> ShiftId {
    ShiftId::parse(text).unwrap()
}

fn fleet(version: &str) -> FleetSpec {
    let address = |text| InstanceSpec::from(Address::parse(text).unwrap());
    let heavy = InstanceSpec {
        weight: Weight::new(3).unwrap(),
        max_concurrency: std::num::NonZeroU32::new(8),
        ..address("model-a:8000")
    };
    let variant =
        |name, instances, weight| VariantSpec { name: VariantName::parse(name).unwrap(), weight, instances };
    FleetSpec {
        version: Version::parse(version).unwrap(),
        instances: vec![address("127.0.0.1:9001"), heavy, address("unix:/run/model.sock")],
        variants: vec![variant("a", 2, VariantWeight::from_number(0.25)), variant("b", 1, None)],
        provider: None,
        protocol: Protocol::H2,
        tls: Some(Arc::new(UpstreamTls {
            ca: Some("ca.pem".into()),
            server_name: Some("model".to_owned()),
            identity: Some(CertificateFiles { cert: "cert.pem".into(), key: "key.pem".into() }),
        })),
    }
}

fn endpoint(text: &str) -> EndpointRecord {
    let document = json!({
        "match": { "path_prefix": "/v1/" },
        "blue": { "version": "v1", "instances": ["127.0.0.1:9001"] },
    });
    EndpointRecord {
        declared: EndpointSpec::from_json(&name(text), &document).unwrap(),
        origin: Origin::File,
        serving: fleet("v7"),
        fleet: Some(FleetId::parse("chat-0-blue").unwrap()),
        rest: Some(FleetId::parse("chat-0").unwrap()),
    }
}

fn plan() -> PlanSpec {
    PlanSpec::from_json(&json!({
        "green": { "version": "v2", "instances": ["127.0.0.1:9003"] },
        "strategy": { "type": "canary", "share": "5%", "bake": "2m", "final_bake": "5m" },
        "guard": [{ "metric": "error_rate", "below": "1%" }],
    }))
    .unwrap()
}

fn made(text: &str) -> FleetRecord {
    let provider =
        json!({ "type": "process", "command": ["serve", "{port}"], "env": { "A": "b" }, "count": 3 });
    let spec = FleetSpec {
        instances: Vec::new(),
        variants: Vec::new(),
        provider: Some(Arc::new(crate::config::provider_from_json(&provider).unwrap())),
        ..fleet("v2")
    };
    let member = Member { id: "0".to_owned(), address: Address::parse("127.0.0.1:9009").unwrap() };
    FleetRecord {
        id: FleetId::parse(text).unwrap(),
        endpoint: name("chat"),
        spec,
        count: 3,
        members: vec![member],
    }
}

fn shift(text: &str, state: State) -> ShiftRecord {
    let is_paused = matches!(state, State::TerminationWait { .. });
    ShiftRecord {
        id: id(text),
        endpoint: name("chat"),
        blue: fleet("v1"),
        blue_fleet: Some(FleetId::parse("chat-0-blue").unwrap()),
        plan: plan(),
        snapshot: Snapshot {
            state,
            elapsed: Duration::new(7, 123_456_789),
            step: Some(1),
            restarts: 2,
            bakes: Bakes::Skipped,
            onward: if is_paused { Onward::Paused } else { Onward::Free },
        },
        recorded_at: WallTime::from_millis(1_769_860_800_250),
        actor: "ann".to_owned(),
        started_at: WallTime::from_millis(1_769_860_000_001),
        moments: Moments {
            breach_at: Some(WallTime::from_millis(-5)),
            decided_at: Some(WallTime::from_millis(1)),
            published_at: None,
            last_green_dispatch_at: Some(WallTime::from_millis(2)),
            drained_at: None,
            ended_at: Some(WallTime::from_millis(3)),
        },
        report: json!({ "alarms": [{ "name": "errors", "ln_e": 7.5 }] }),
    }
}

fn event(id: u64) -> Event {
    Event {
        id,
        at: WallTime::from_millis(17),
        kind: "shift.state".to_owned(),
        endpoint: Some(name("chat")),
        shift: Some(self::id("s-1")),
        before: Some("baking".to_owned()),
        after: Some("holding".to_owned()),
        share: Some(Share::parse("5%").unwrap()),
        actor: "timer".to_owned(),
        cause: "12 of 400 requests settled; \"quoted\", ümlaut".to_owned(),
        peer: Some("10.0.0.7".to_owned()),
        reason: Some("because".to_owned()),
        evidence: Some(json!({ "alarm": "errors", "blue": { "failed": 1 } })),
        hash: Hash::parse(&format!("{id:064x}")).unwrap(),
    }
}

fn states() -> Vec<State> {
    let moment = Moment::from_nanos(90_000_000_001);
    let causes = [
        Cause::Alarm { name: "errors".to_owned(), evidence: "9 of 12 failed".to_owned() },
        Cause::FailureBudget { failures: u64::MAX },
        Cause::Aborted,
        Cause::ExecutionTimeout,
        Cause::GreenNotReady { reason: "no such image".to_owned() },
        Cause::GreenGone,
        Cause::NoData,
        Cause::Restart,
        Cause::EvaluatorStalled,
    ];
    let mut states = vec![
        State::Preparing { ready_by: moment },
        State::Baking { step: 1, ends: moment },
        State::Holding { step: 0 },
        State::Paused { step: 1, remaining: Duration::MAX, reason: PauseReason::Operator },
        State::Paused { step: 0, remaining: Duration::ZERO, reason: PauseReason::Approval },
        State::TerminationWait { ends: moment },
        State::Retiring { drain_by: moment },
        State::Promoted,
    ];
    for cause in causes {
        states.push(State::RollingBack { cause: cause.clone(), drain_by: moment });
        states.push(State::RolledBack { cause });
    }
    states
}

/// A rolling shift of four instances to three, by ones.
fn rolling(state: State) -> ShiftRecord {
    let plan = PlanSpec::from_json(&json!({
        "green": { "version": "v2", "instances": ["a:1", "a:2", "a:3"] },
        "strategy": { "type": "rolling", "batch": 1, "bake": "2m", "rollback_batch": "50%" },
        "guard": [{ "metric": "error_rate", "below": "1%" }],
    }));
    let plan = plan.unwrap();
    let [blue, green] = [4, 3].map(|size| std::num::NonZeroU32::new(size).unwrap());
    let shift = plan.shift.clone().sized(Sizes { blue, green }).unwrap();
    ShiftRecord { plan: PlanSpec { shift, ..plan }, ..self::shift("s-1", state) }
}

#[test]
fn a_rolling_shift_reads_back_with_the_sizes_that_its_plan_does_not_tell() {
    let moment = Moment::from_nanos(90_000_000_001);
    let (cause, reason) = (Cause::Aborted, "no room".to_owned());
    let back = Back { blue: 2, pace: Pace::Batches };
    for state in [
        State::Baking { step: 2, ends: moment },
        State::RetiringBatch { step: 1, drain_by: moment },
        State::PreparingBatch { step: 2, ready_by: moment },
        State::HoldingBatch { step: 1 },
        State::ReleasingBatch { cause: cause.clone(), back, drain_by: moment },
        State::Restoring {
            cause: cause.clone(),
            back: Back { pace: Pace::AtOnce, ..back },
            ready_by: moment,
        },
        State::RollbackFailed { cause, reason, back },
    ] {
        let place = Place::new();
        let record = rolling(state);
        place.open().commit(&[Record::Shift(Box::new(record.clone()))]).unwrap();
        assert_eq!(place.open().shift(&record.id).unwrap(), Some(record));
    }
}

fn freeze(endpoint: Option<&str>) -> Freeze {
    Freeze {
        endpoint: endpoint.map(|name| EndpointName::parse(name).unwrap()),
        actor: "ann".to_owned(),
        reason: "incident".to_owned(),
        since: WallTime::from_millis(1_700_000_000_000),
    }
}

#[test]
fn every_record_reads_back_as_it_was_written() {
    let place = Place::new();
    let journal = place.open();
    assert_eq!(journal.load().unwrap(), Loaded::default());
    let api = EndpointRecord { origin: Origin::Api, ..endpoint("score") };
    let bare = Event {
        endpoint: None,
        shift: None,
        before: None,
        after: None,
        share: None,
        peer: None,
        reason: None,
        evidence: None,
        ..event(2)
    };
    let records = [
        Record::Endpoint(Box::new(api.clone())),
        Record::Endpoint(Box::new(endpoint("chat"))),
        Record::Fleet(Box::new(made("chat-1"))),
        Record::Fleet(Box::new(made("chat-2"))),
        Record::FleetGone(made("chat-1").id),
        Record::Freeze(Box::new(freeze(Some("chat")))),
        Record::Freeze(Box::new(freeze(Some("score")))),
        Record::Freeze(Box::new(freeze(None))),
        Record::Unfreeze(Some(EndpointName::parse("score").unwrap())),
        Record::Event(event(1)),
        Record::Event(bare.clone()),
    ];
    journal.commit(&records).unwrap();
    for (number, state) in states().into_iter().enumerate() {
        let record = shift(&format!("s-{number}"), state);
        journal.commit(&[Record::Shift(Box::new(record.clone()))]).unwrap();
        assert_eq!(journal.shift(&record.id).unwrap(), Some(record));
    }
    drop(journal);

    let journal = place.open();
    let loaded = journal.load().unwrap();
    assert_eq!(loaded.endpoints, [endpoint("chat"), api]);
    assert_eq!(loaded.head.id, 2);
    assert_eq!(loaded.fleets, [made("chat-2")]);
    assert_eq!(loaded.freezes, [freeze(None), freeze(Some("chat"))]);
    assert!(loaded.running.iter().all(|record| !record.snapshot.state.is_terminal()));
    assert_eq!(
        loaded.running.len(),
        states().iter().filter(|state| !state.is_terminal()).count(),
        "all that are not over"
    );
    assert_eq!(journal.events_after(0, 10).unwrap(), [event(1), bare]);
    assert_eq!(journal.shift(&id("other")).unwrap(), None);
}

#[test]
fn a_record_written_again_replaces_the_one_before_and_keeps_its_place() {
    let place = Place::new();
    let journal = place.open();
    for text in ["s-1", "s-2"] {
        let record = shift(text, State::Holding { step: 0 });
        journal
            .commit(&[Record::Shift(Box::new(record)), Record::Endpoint(Box::new(endpoint("chat")))])
            .unwrap();
    }
    let over = shift("s-1", State::Promoted);
    let moved = EndpointRecord { serving: fleet("v8"), ..endpoint("chat") };
    journal
        .commit(&[Record::Shift(Box::new(over.clone())), Record::Endpoint(Box::new(moved.clone()))])
        .unwrap();
    let shifts = journal.shifts_of(&name("chat"), 10).unwrap();
    assert_eq!(shifts, [shift("s-2", State::Holding { step: 0 }), over]);
    assert_eq!(journal.shifts_of(&name("chat"), 1).unwrap().len(), 1);
    assert_eq!(journal.shifts_of(&name("score"), 10).unwrap(), []);
    let loaded = journal.load().unwrap();
    assert_eq!((loaded.endpoints, loaded.running.len()), (vec![moved], 1));

    journal.commit(&[Record::EndpointDeleted(name("chat"))]).unwrap();
    assert_eq!(journal.load().unwrap().endpoints, []);
    assert_eq!(journal.shifts_of(&name("chat"), 10).unwrap().len(), 2, "an endpoint's shifts stay");
}

#[test]
fn a_commit_that_fails_half_way_leaves_nothing() {
    let place = Place::new();
    let journal = place.open();
    journal.commit(&[Record::Event(event(1))]).unwrap();
    let records =
        [Record::Endpoint(Box::new(endpoint("chat"))), Record::Event(event(2)), Record::Event(event(1))];
    let error = journal.commit(&records).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }), "{error}");
    let loaded = journal.load().unwrap();
    assert_eq!((loaded.endpoints.len(), loaded.head.id), (0, 1));
    journal.commit(&records[..2]).unwrap();
    assert_eq!(journal.load().unwrap().head.id, 2);
}

#[test]
fn events_come_in_order_and_in_pages() {
    let place = Place::new();
    let journal = place.open();
    journal.commit(&(1..=7).map(|id| Record::Event(event(id))).collect::<Vec<_>>()).unwrap();
    let ids = |after, limit| -> Vec<u64> {
        journal.events_after(after, limit).unwrap().iter().map(|event| event.id).collect()
    };
    assert_eq!(ids(0, 3), [1, 2, 3]);
    assert_eq!(ids(3, EVENT_COUNT_LIMIT), [4, 5, 6, 7]);
    assert_eq!(ids(7, usize::MAX), [] as [u64; 0]);
    assert_eq!(ids(u64::MAX, 1), [] as [u64; 0]);
}

#[test]
fn old_events_and_old_shifts_go() {
    let place = Place::new();
    let journal = place.open();
    let mut records: Vec<Record> = [1, 999, 1_000, 1_001].map(|id| Record::Event(event(id))).into();
    records.push(Record::Event(event(Kept::default().events + rows::EVENT_BATCH)));
    let running = shift("running", State::Holding { step: 0 });
    records.push(Record::Shift(Box::new(running.clone())));
    for number in 0..Kept::default().shifts + 5 {
        records.push(Record::Shift(Box::new(shift(&format!("s-{number}"), State::Promoted))));
    }
    journal.commit(&records).unwrap();
    let ids: Vec<u64> =
        journal.events_after(0, EVENT_COUNT_LIMIT).unwrap().iter().map(|event| event.id).collect();
    assert_eq!(ids, [1_001, 101_000]);
    let shifts = journal.shifts_of(&name("chat"), usize::MAX).unwrap();
    assert_eq!(shifts.len(), 1_001, "a thousand and the running one");
    assert_eq!(shifts.last(), Some(&running));
    assert_eq!(journal.shift(&id("s-4")).unwrap(), None);
    assert!(journal.shift(&id("s-5")).unwrap().is_some());
}

#[test]
fn what_was_committed_survives_a_kill_without_closing() {
    let place = Place::new();
    let journal = place.open();
    for number in 1..=3 {
        journal
            .commit(&[Record::Event(event(number)), Record::Endpoint(Box::new(endpoint("chat")))])
            .unwrap();
        let found = place.copy(0).open().load().unwrap();
        assert_eq!((found.head.id, found.endpoints.len()), (number, 1));
    }
}

#[test]
fn a_log_cut_anywhere_gives_whole_commits_only() {
    let place = Place::new();
    drop(place.open());
    let journal = place.open();
    for number in 1..=3 {
        let record = shift(&format!("s-{number}"), State::Holding { step: 0 });
        journal.commit(&[Record::Event(event(number)), Record::Shift(Box::new(record))]).unwrap();
    }
    let length = fs::metadata(place.path().with_extension("db-wal")).unwrap().len();
    let mut seen = std::collections::BTreeSet::new();
    for lost in (0..=usize::try_from(length).unwrap()).step_by(997) {
        let found = place.copy(lost).open().load().unwrap();
        assert_eq!(usize::try_from(found.head.id).unwrap(), found.running.len(), "{lost} bytes lost");
        seen.insert(found.head.id);
    }
    assert_eq!(seen, [0, 1, 2, 3].into());
}

#[test]
fn the_file_is_written_with_a_log_and_full_sync() {
    let place = Place::new();
    let journal = place.open();
    let connection = journal.connection();
    let pragma = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| {
                row.get_ref(0).map(|value| match value {
                    rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    rusqlite::types::ValueRef::Null
                    | rusqlite::types::ValueRef::Real(_)
                    | rusqlite::types::ValueRef::Blob(_) => String::new(),
                })
            })
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2", "FULL");
    assert_eq!(pragma("locking_mode"), "exclusive");
}

#[test]
fn a_second_one_is_refused_while_the_first_has_the_file() {
    let place = Place::new();
    let journal = place.open();
    let error = place.refusal();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    journal.commit(&[Record::Event(event(1))]).unwrap();
    drop(journal);
    assert_eq!(place.open().load().unwrap().head.id, 1);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let place = Place::new();
    drop(place.open());
    place.raw().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(place.path()).unwrap();
    let error = place.refusal();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert_eq!(fs::read(place.path()).unwrap(), before);
}

#[test]
fn another_programs_file_is_refused_and_left_alone() {
    let place = Place::new();
    place.raw().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    let before = fs::read(place.path()).unwrap();
    let error = place.refusal().to_string();
    assert!(error.contains("another program's database"), "{error}");
    assert_eq!(fs::read(place.path()).unwrap(), before);

    let place = Place::new();
    fs::write(place.path(), "name,age\nann,7\n".repeat(100)).unwrap();
    let error = place.refusal().to_string();
    assert!(error.contains("not a database") && error.contains("[state] path"), "{error}");
}

#[test]
fn a_place_that_cannot_hold_a_file_is_named_with_what_to_do() {
    let place = Place::new();
    let error = SqliteJournal::open(place.directory.path()).unwrap_err().to_string();
    assert!(error.contains("it is a directory: name a file"), "{error}");
    let nowhere = place.directory.path().join("no").join("snapback.db");
    let error = SqliteJournal::open(&nowhere).unwrap_err().to_string();
    assert!(error.contains("there is no directory") && error.contains("make it"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_read_only_file_or_directory_is_refused_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    drop(place.open());
    let permit = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    permit(&place.path(), 0o444);
    if OpenOptions::new().append(true).open(place.path()).is_ok() {
        return; // No mode stops a privileged user; a journal that turns read-only has a test of its own.
    }
    let error = place.refusal().to_string();
    assert!(error.contains("writable"), "{error}");

    let place = Place::new();
    permit(place.directory.path(), 0o555);
    let error = place.refusal().to_string();
    permit(place.directory.path(), 0o755);
    assert!(error.contains("ermission denied") && error.contains("writable"), "{error}");
    assert!(!place.path().exists());
}

#[test]
fn a_full_disk_or_one_that_turned_read_only_changes_nothing_and_says_what_to_do() {
    let place = Place::new();
    let journal = place.open();
    journal.commit(&[Record::Event(event(1))]).unwrap();
    let pages: i64 = journal.connection().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |pages: i64| {
        journal
            .connection()
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let records: Vec<Record> = (2..500).map(|id| Record::Event(event(id))).collect();
    limit(pages);
    let error = journal.commit(&records).unwrap_err().to_string();
    assert!(error.contains("full") && error.contains("free some space"), "{error}");
    assert_eq!(journal.load().unwrap().head.id, 1);
    limit(1_000_000);

    journal.connection().pragma_update(None, "query_only", true).unwrap();
    let error = journal.commit(&records).unwrap_err().to_string();
    assert!(error.contains("readonly") && error.contains("writable"), "{error}");
    journal.connection().pragma_update(None, "query_only", false).unwrap();

    journal.commit(&records).unwrap();
    assert_eq!(journal.load().unwrap().head.id, 499);
}

#[test]
fn a_row_that_makes_no_sense_is_named() {
    let spoil = |change: &str| {
        let place = Place::new();
        let journal = place.open();
        let records = [
            Record::Endpoint(Box::new(endpoint("chat"))),
            Record::Shift(Box::new(shift("s-1", State::Holding { step: 0 }))),
            Record::Event(event(1)),
        ];
        journal.commit(&records).unwrap();
        drop(journal);
        place.raw().execute_batch(change).unwrap();
        let journal = place.open();
        let error = journal.load().err().or(journal.events_after(0, 1).err()).unwrap();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        error.to_string()
    };
    for (change, row, why) in [
        ("UPDATE shifts SET plan = '{}'", "shift s-1: plan:", "green"),
        ("UPDATE shifts SET plan = 'x'", "shift s-1: plan:", "expected value"),
        ("UPDATE shifts SET snapshot = '{}'", "shift s-1: snapshot:", "state"),
        (
            "UPDATE shifts SET snapshot = replace(snapshot, '\"step\":1', '\"step\":2')",
            "shift s-1: snapshot:",
            "step 2, but the plan has 2",
        ),
        (
            "UPDATE shifts SET blue = '{\"version\":\"v 1\",\"instances\":[]}'",
            "shift s-1: blue:",
            "not a version",
        ),
        ("UPDATE shifts SET moments = '{\"x\":1}'", "shift s-1: moments:", "x"),
        ("UPDATE shifts SET actor = CAST(x'ff' AS TEXT)", "shift s-1: actor:", "utf-8"),
        ("UPDATE endpoints SET declared = '{}'", "endpoint chat: declared:", "blue"),
        ("UPDATE endpoints SET origin = 'moon'", "endpoint chat: origin:", "moon"),
        ("UPDATE endpoints SET name = '-'", "endpoint -: name:", "not an endpoint name"),
        ("UPDATE events SET share = 10001", "event 1: share:", "10001 basis points"),
    ] {
        let error = spoil(change);
        assert!(error.contains(row) && error.contains(why), "{change} gives {error}");
    }
}
