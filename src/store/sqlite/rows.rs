//! Records to rows and back.

use std::fmt::Display;

use rusqlite::{
    Connection, Params, Row, Transaction, params,
    types::{FromSql, ValueRef},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{freezes, outbox, queue, resources};
use crate::{
    config::{EndpointSpec, PlanSpec},
    name::{EndpointName, FleetId, ShiftId},
    store::{
        Chain, EndpointRecord, Event, FleetRecord, Hash, Head, Kept, Record, ShiftRecord,
        form::{FleetForm, MemberForm, MomentsForm, SnapshotForm, read_origin, write_origin},
    },
    time::WallTime,
    weight::Share,
};

/// Old events go in batches of this many, so that most commits delete nothing; so many more than are kept there may be.
pub(super) const EVENT_BATCH: u64 = 1_000;

const SHIFT_COLUMNS: &str =
    "id, endpoint, blue, blue_fleet, plan, snapshot, recorded_at, actor, started_at, moments, report";
const EVENT_COLUMNS: &str =
    "id, at, kind, endpoint, shift, before, after, share, actor, cause, peer, reason, evidence, hash";

/// Why rows could not be read.
pub(super) enum ReadError {
    /// SQLite says no.
    Sqlite(rusqlite::Error),
    /// A row does not make sense; says which, and why.
    Row(String),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Writes one record.
pub(super) fn write(transaction: &Transaction<'_>, record: &Record, kept: Kept) -> rusqlite::Result<()> {
    match record {
        Record::Endpoint(endpoint) => write_endpoint(transaction, endpoint),
        Record::EndpointDeleted(name) => {
            transaction.prepare_cached("DELETE FROM endpoints WHERE name = ?1")?.execute([name.as_str()])?;
            freezes::lift(transaction, Some(name))?;
            queue::clear(transaction, name)
        }
        Record::Shift(shift) => write_shift(transaction, shift, kept),
        Record::Fleet(fleet) => write_fleet(transaction, fleet),
        Record::FleetGone(id) => {
            transaction.prepare_cached("DELETE FROM fleets WHERE id = ?1")?.execute([id.as_str()])?;
            Ok(())
        }
        Record::Freeze(freeze) => freezes::write(transaction, freeze),
        Record::Unfreeze(endpoint) => freezes::lift(transaction, endpoint.as_ref()),
        Record::Resource(resource) => resources::write(transaction, resource),
        Record::ResourceGone(kind, name) => resources::remove(transaction, kind, name),
        Record::Queued(queued) => queue::write(transaction, queued),
        Record::Dequeued(id) => queue::leave(transaction, id),
        Record::Event(event) => write_event(transaction, event, kept),
    }
}

fn write_endpoint(transaction: &Transaction<'_>, record: &EndpointRecord) -> rusqlite::Result<()> {
    let EndpointRecord { declared, origin, serving, fleet, rest } = record;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO endpoints (name, origin, declared, serving, fleet, rest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            declared.name.as_str(),
            write_origin(*origin),
            declared.to_json().to_string(),
            to_json(&FleetForm::from(serving)),
            fleet.as_ref().map(FleetId::as_str),
            rest.as_ref().map(FleetId::as_str),
        ])?;
    Ok(())
}

fn write_shift(transaction: &Transaction<'_>, record: &ShiftRecord, kept: Kept) -> rusqlite::Result<()> {
    let ShiftRecord {
        id,
        endpoint,
        blue,
        blue_fleet,
        plan,
        snapshot,
        recorded_at,
        actor,
        started_at,
        moments,
        report,
    } = record;
    let over = snapshot.state.is_terminal();
    transaction
        .prepare_cached(
            "INSERT INTO shifts (id, endpoint, over, blue, plan, snapshot, recorded_at, actor, started_at, moments, report, blue_fleet)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (id) DO UPDATE SET
                 endpoint = excluded.endpoint, over = excluded.over, blue = excluded.blue, plan = excluded.plan,
                 snapshot = excluded.snapshot, recorded_at = excluded.recorded_at, actor = excluded.actor,
                 started_at = excluded.started_at, moments = excluded.moments, report = excluded.report,
                 blue_fleet = excluded.blue_fleet",
        )?
        .execute(params![
            id.as_str(),
            endpoint.as_str(),
            over,
            to_json(&FleetForm::from(blue)),
            plan.to_json().to_string(),
            to_json(&SnapshotForm::new(snapshot, &plan.shift)),
            recorded_at.as_millis(),
            actor,
            started_at.as_millis(),
            to_json(&MomentsForm::from(moments)),
            report.to_string(),
            blue_fleet.as_ref().map(FleetId::as_str),
        ])?;
    queue::leave(transaction, id)?;
    if over {
        transaction
            .prepare_cached(
                "DELETE FROM shifts WHERE endpoint = ?1 AND over = 1 AND ordinal <= (
                     SELECT ordinal FROM shifts WHERE endpoint = ?1 AND over = 1 ORDER BY ordinal DESC LIMIT 1 OFFSET ?2
                 )",
            )?
            .execute(params![endpoint.as_str(), kept.shifts])?;
    }
    Ok(())
}

fn write_event(transaction: &Transaction<'_>, event: &Event, kept: Kept) -> rusqlite::Result<()> {
    let Event {
        id,
        at,
        kind,
        endpoint,
        shift,
        before,
        after,
        share,
        actor,
        cause,
        peer,
        reason,
        evidence,
        hash,
    } = event;
    transaction
        .prepare_cached(&format!(
            "INSERT INTO events ({EVENT_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
        ))?
        .execute(params![
            id_column(*id),
            at.as_millis(),
            kind,
            endpoint.as_ref().map(EndpointName::as_str),
            shift.as_ref().map(ShiftId::as_str),
            before,
            after,
            share.map(Share::basis_points),
            actor,
            cause,
            peer,
            reason,
            evidence.as_ref().map(ToString::to_string),
            hash.as_bytes(),
        ])?;
    transaction
        .prepare_cached("UPDATE chain SET head_id = ?1, head_hash = ?2")?
        .execute(params![id_column(*id), hash.as_bytes()])?;
    if id % EVENT_BATCH == 0 {
        compact(transaction, id.saturating_sub(kept.events))?;
    }
    Ok(())
}

fn write_fleet(transaction: &Transaction<'_>, record: &FleetRecord) -> rusqlite::Result<()> {
    let FleetRecord { id, endpoint, spec, count, members } = record;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO fleets (id, endpoint, spec, count, members) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            id.as_str(),
            endpoint.as_str(),
            to_json(&FleetForm::from(spec)),
            count,
            to_json(&members.iter().map(MemberForm::from).collect::<Vec<_>>()),
        ])?;
    Ok(())
}

/// All provisioned fleets, oldest names first.
pub(super) fn fleets(connection: &Connection) -> Result<Vec<FleetRecord>, ReadError> {
    let query = "SELECT id, endpoint, spec, count, members FROM fleets ORDER BY id";
    select(connection, "fleet", query, [], read_fleet)
}

/// Lets events up to this one go. What is left is chained to the last of them, which the anchor remembers. Webhooks that have not had some of
/// them yet get dead letters instead.
fn compact(transaction: &Transaction<'_>, up_to: u64) -> rusqlite::Result<()> {
    outbox::overtake(transaction, up_to)?;
    let up_to = id_column(up_to);
    transaction
        .prepare_cached(
            "UPDATE chain SET (anchor_id, anchor_hash) = (SELECT id, hash FROM events WHERE id <= ?1 ORDER BY id DESC LIMIT 1)
             WHERE anchor_id < (SELECT max(id) FROM events WHERE id <= ?1)",
        )?
        .execute([up_to])?;
    transaction.prepare_cached("DELETE FROM events WHERE id <= ?1")?.execute([up_to])?;
    Ok(())
}

/// All endpoints, by name.
pub(super) fn endpoints(connection: &Connection) -> Result<Vec<EndpointRecord>, ReadError> {
    let query = "SELECT name, origin, declared, serving, fleet, rest FROM endpoints ORDER BY name";
    select(connection, "endpoint", query, [], read_endpoint)
}

/// All shifts that are not over, oldest first.
pub(super) fn running(connection: &Connection) -> Result<Vec<ShiftRecord>, ReadError> {
    let query = format!("SELECT {SHIFT_COLUMNS} FROM shifts WHERE over = 0 ORDER BY ordinal");
    select(connection, "shift", &query, [], read_shift)
}

/// An endpoint's shifts, newest first.
pub(super) fn shifts_of(
    connection: &Connection,
    endpoint: &EndpointName,
    limit: usize,
) -> Result<Vec<ShiftRecord>, ReadError> {
    let query =
        format!("SELECT {SHIFT_COLUMNS} FROM shifts WHERE endpoint = ?1 ORDER BY ordinal DESC LIMIT ?2");
    select(connection, "shift", &query, params![endpoint.as_str(), limit_column(limit)], read_shift)
}

/// One shift.
pub(super) fn shift(connection: &Connection, id: &ShiftId) -> Result<Option<ShiftRecord>, ReadError> {
    let query = format!("SELECT {SHIFT_COLUMNS} FROM shifts WHERE id = ?1");
    Ok(select(connection, "shift", &query, [id.as_str()], read_shift)?.pop())
}

/// Events with an id above `after`, oldest first.
pub(super) fn events_after(
    connection: &Connection,
    after: u64,
    limit: usize,
) -> Result<Vec<Event>, ReadError> {
    let query = format!("SELECT {EVENT_COLUMNS} FROM events WHERE id > ?1 ORDER BY id LIMIT ?2");
    select(connection, "event", &query, params![id_column(after), limit_column(limit)], read_event)
}

/// Events of one endpoint, or of none, with an id above `after`, oldest first.
pub(super) fn events_of(
    connection: &Connection,
    endpoint: Option<&EndpointName>,
    after: u64,
    limit: usize,
) -> Result<Vec<Event>, ReadError> {
    let query =
        format!("SELECT {EVENT_COLUMNS} FROM events WHERE endpoint IS ?1 AND id > ?2 ORDER BY id LIMIT ?3");
    let endpoint = endpoint.map(EndpointName::as_str);
    select(connection, "event", &query, params![endpoint, id_column(after), limit_column(limit)], read_event)
}

/// One event.
pub(super) fn event(connection: &Connection, id: u64) -> Result<Option<Event>, ReadError> {
    let query = format!("SELECT {EVENT_COLUMNS} FROM events WHERE id = ?1");
    Ok(select(connection, "event", &query, [id_column(id)], read_event)?.pop())
}

/// Between which events the chain runs.
pub(super) fn chain(connection: &Connection) -> Result<Chain, ReadError> {
    let query = "SELECT one, anchor_id, anchor_hash, head_id, head_hash FROM chain";
    let chain = select(connection, "chain", query, [], |row| {
        let head = |id: &str, hash: &str| -> Result<Head, String> {
            Ok(Head { id: read_id(row, id)?, hash: read_hash(row, hash)? })
        };
        Ok(Chain { anchor: head("anchor_id", "anchor_hash")?, head: head("head_id", "head_hash")? })
    })?;
    chain.first().copied().ok_or_else(|| ReadError::Row("chain 1: is missing".to_owned()))
}

/// Reads all rows of a query whose first column is the key that names a row in errors.
pub(super) fn select<T>(
    connection: &Connection,
    kind: &str,
    query: &str,
    params: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, String>,
) -> Result<Vec<T>, ReadError> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(params)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let record = read(row).map_err(|reason| {
            let key = match row.get_ref(0) {
                Ok(ValueRef::Text(key)) => String::from_utf8_lossy(key).into_owned(),
                Ok(ValueRef::Integer(key)) => key.to_string(),
                Ok(ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_)) | Err(_) => "?".to_owned(),
            };
            ReadError::Row(format!("{kind} {key}: {reason}"))
        })?;
        records.push(record);
    }
    Ok(records)
}

fn read_endpoint(row: &Row<'_>) -> Result<EndpointRecord, String> {
    let name = parsed(row, "name", EndpointName::parse)?;
    let declared = parsed(row, "declared", |text| {
        let document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        EndpointSpec::from_json(&name, &document).map_err(|problems| problems.to_string())
    })?;
    Ok(EndpointRecord {
        declared,
        origin: parsed(row, "origin", read_origin)?,
        serving: parsed(row, "serving", |text| from_json::<FleetForm>(text)?.into_spec())?,
        fleet: parsed_if_any(row, "fleet", FleetId::parse)?,
        rest: parsed_if_any(row, "rest", FleetId::parse)?,
    })
}

fn read_shift(row: &Row<'_>) -> Result<ShiftRecord, String> {
    let plan = parsed(row, "plan", |text| {
        let document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        PlanSpec::from_json(&document).map_err(|problems| problems.to_string())
    })?;
    let form: SnapshotForm = parsed(row, "snapshot", from_json)?;
    let plan = PlanSpec { shift: form.sized(plan.shift).map_err(|error| format!("plan: {error}"))?, ..plan };
    let snapshot = form.into_snapshot(&plan.shift).map_err(|error| format!("snapshot: {error}"))?;
    Ok(ShiftRecord {
        id: parsed(row, "id", ShiftId::parse)?,
        endpoint: parsed(row, "endpoint", EndpointName::parse)?,
        blue: parsed(row, "blue", |text| from_json::<FleetForm>(text)?.into_spec())?,
        blue_fleet: parsed_if_any(row, "blue_fleet", FleetId::parse)?,
        plan,
        snapshot,
        recorded_at: WallTime::from_millis(get(row, "recorded_at")?),
        actor: get(row, "actor")?,
        started_at: WallTime::from_millis(get(row, "started_at")?),
        moments: parsed(row, "moments", from_json::<MomentsForm>)?.into(),
        report: parsed(row, "report", from_json)?,
    })
}

fn read_fleet(row: &Row<'_>) -> Result<FleetRecord, String> {
    let members = parsed(row, "members", |text| {
        from_json::<Vec<MemberForm>>(text)?.into_iter().map(MemberForm::into_member).collect()
    })?;
    Ok(FleetRecord {
        id: parsed(row, "id", FleetId::parse)?,
        endpoint: parsed(row, "endpoint", EndpointName::parse)?,
        spec: parsed(row, "spec", |text| from_json::<FleetForm>(text)?.into_spec())?,
        count: get(row, "count")?,
        members,
    })
}

fn read_event(row: &Row<'_>) -> Result<Event, String> {
    let share = get::<Option<u16>>(row, "share")?.map(Share::from_basis_points).transpose();
    let evidence: Option<String> = get(row, "evidence")?;
    let evidence =
        evidence.as_deref().map(from_json).transpose().map_err(|error| format!("evidence: {error}"))?;
    Ok(Event {
        id: read_id(row, "id")?,
        at: WallTime::from_millis(get(row, "at")?),
        kind: get(row, "kind")?,
        endpoint: parsed_if_any(row, "endpoint", EndpointName::parse)?,
        shift: parsed_if_any(row, "shift", ShiftId::parse)?,
        before: get(row, "before")?,
        after: get(row, "after")?,
        share: share.map_err(|error| format!("share: {error}"))?,
        actor: get(row, "actor")?,
        cause: get(row, "cause")?,
        peer: get(row, "peer")?,
        reason: get(row, "reason")?,
        evidence,
        hash: read_hash(row, "hash")?,
    })
}

pub(super) fn read_id(row: &Row<'_>, column: &str) -> Result<u64, String> {
    u64::try_from(get::<i64>(row, column)?).map_err(|error| format!("{column}: {error}"))
}

/// Entries from before there was a chain have none.
fn read_hash(row: &Row<'_>, column: &str) -> Result<Hash, String> {
    let bytes: Option<Vec<u8>> = get(row, column)?;
    let hash = bytes.map(|bytes| Hash::from_bytes(&bytes).ok_or_else(|| format!("{column}: is no hash")));
    Ok(hash.transpose()?.unwrap_or(Hash::NONE))
}

pub(super) fn get<T: FromSql>(row: &Row<'_>, column: &str) -> Result<T, String> {
    row.get(column).map_err(|error| format!("{column}: {error}"))
}

pub(super) fn parsed<T, E: Display>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, String> {
    parse(&get::<String>(row, column)?).map_err(|error| format!("{column}: {error}"))
}

pub(super) fn parsed_if_any<T, E: Display>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, String> {
    let text: Option<String> = get(row, column)?;
    text.as_deref().map(parse).transpose().map_err(|error| format!("{column}: {error}"))
}

fn to_json(form: &impl Serialize) -> String {
    serde_json::to_string(form).expect("a form has text keys and serializes without fail")
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// SQLite's integers end at 2^63, which no count of events reaches.
pub(super) fn id_column(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

fn limit_column(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
