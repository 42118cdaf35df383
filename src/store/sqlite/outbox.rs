//! The tables behind webhooks.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{
    SqliteJournal,
    rows::{self, get, id_column, read_id, select},
};
use crate::{
    name::EndpointName,
    store::{Cursors, DeadLetter, Event, Lane, Outbox, Progress, StoreError},
    time::WallTime,
};

/// A day of one failure every minute and a half; whoever has not looked by then looks at the newest.
const KEPT_DEAD_LETTERS: i64 = 1_000;

/// The column of [`Cursors::origin`]; no endpoint has this name.
const ORIGIN: &str = "*";

/// The column of [`Lane::General`]; no endpoint has this name.
const GENERAL: &str = "";

impl Outbox for SqliteJournal {
    fn cursors(&self, webhook: &str) -> Result<Cursors, StoreError> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO cursors SELECT ?1, ?2, head_id FROM chain WHERE true ON CONFLICT DO NOTHING",
                params![webhook, ORIGIN],
            )
        })?;
        self.read(|connection| {
            let query = "SELECT lane, event FROM cursors WHERE webhook = ?1";
            let rows = select(connection, "cursor", query, [webhook], |row| {
                Ok((get::<String>(row, "lane")?, read_id(row, "event")?))
            })?;
            let mut cursors = Cursors { origin: 0, lanes: BTreeMap::new() };
            for (lane, event) in rows {
                match lane.as_str() {
                    ORIGIN => cursors.origin = event,
                    lane => drop(cursors.lanes.insert(read_lane(lane).map_err(rows::ReadError::Row)?, event)),
                }
            }
            Ok(cursors)
        })
    }

    fn newest(&self) -> Result<BTreeMap<Lane, u64>, StoreError> {
        self.read(|connection| {
            let query =
                "SELECT coalesce(endpoint, '') AS lane, max(id) AS event FROM events GROUP BY endpoint";
            let rows = select(connection, "events of", query, [], |row| {
                Ok((read_lane(&get::<String>(row, "lane")?)?, read_id(row, "event")?))
            })?;
            Ok(rows.into_iter().collect())
        })
    }

    fn events_of(&self, lane: &Lane, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let endpoint = match lane {
            Lane::General => None,
            Lane::Endpoint(name) => Some(name),
        };
        self.read(|connection| rows::events_of(connection, endpoint, after, limit))
    }

    fn event(&self, id: u64) -> Result<Option<Event>, StoreError> {
        self.read(|connection| rows::event(connection, id))
    }

    fn dead_letters(&self, webhook: &str) -> Result<Vec<DeadLetter>, StoreError> {
        self.read(|connection| {
            let query =
                "SELECT event, at, attempts, reason FROM dead_letters WHERE webhook = ?1 ORDER BY event";
            select(connection, "dead letter", query, [webhook], |row| {
                Ok(DeadLetter {
                    event: read_id(row, "event")?,
                    at: WallTime::from_millis(get(row, "at")?),
                    attempts: get(row, "attempts")?,
                    reason: get(row, "reason")?,
                })
            })
        })
    }

    fn advance(&self, webhook: &str, progress: &[Progress]) -> Result<(), StoreError> {
        self.write(|transaction| progress.iter().try_for_each(|change| write(transaction, webhook, change)))
    }

    fn keep_only(&self, webhooks: &[String]) -> Result<(), StoreError> {
        let known = self.read(|connection| Ok(known(connection)?))?;
        let gone: Vec<_> = known.into_iter().filter(|name| !webhooks.contains(name)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            for name in &gone {
                transaction.execute("DELETE FROM cursors WHERE webhook = ?1", [name])?;
                transaction.execute("DELETE FROM dead_letters WHERE webhook = ?1", [name])?;
            }
            Ok(())
        })
    }
}

/// Events up to this one are about to go. Each lane of a webhook that has not come as far gets a dead letter that says how many it will never
/// get, in the place of the last of them, and goes on behind it. Whether the webhook would have wanted them is not known here.
pub(super) fn overtake(transaction: &Transaction<'_>, up_to: u64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO dead_letters (webhook, event, at, attempts, reason)
             SELECT begun.webhook, max(events.id), (SELECT at FROM events ORDER BY id DESC LIMIT 1), 0,
                    format('%d events of %s, %d to %d, were compacted away before they were delivered: raise [state] keep_events', count(*),
                           coalesce('endpoint ' || events.endpoint, 'no endpoint'), min(events.id), max(events.id))
             FROM cursors AS begun JOIN events ON events.id <= ?2 AND events.id > coalesce(
                 (SELECT event FROM cursors WHERE webhook = begun.webhook AND lane = coalesce(events.endpoint, ?3)), begun.event)
             WHERE begun.lane = ?1 GROUP BY begun.webhook, events.endpoint",
        )?
        .execute(params![ORIGIN, id_column(up_to), GENERAL])?;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO cursors (webhook, lane, event)
             SELECT begun.webhook, coalesce(events.endpoint, ?3), max(events.id)
             FROM cursors AS begun JOIN events ON events.id <= ?2 AND events.id > coalesce(
                 (SELECT event FROM cursors WHERE webhook = begun.webhook AND lane = coalesce(events.endpoint, ?3)), begun.event)
             WHERE begun.lane = ?1 GROUP BY begun.webhook, events.endpoint",
        )?
        .execute(params![ORIGIN, id_column(up_to), GENERAL])?;
    Ok(())
}

impl SqliteJournal {
    fn write<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection();
        let write = || {
            let transaction = Transaction::new(&mut connection, TransactionBehavior::Immediate)?;
            let changed = change(&transaction)?;
            transaction.commit().map(|()| changed)
        };
        write().map_err(|error| self.write_error(&error))
    }
}

fn known(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT DISTINCT webhook FROM cursors")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

fn write(transaction: &Transaction<'_>, webhook: &str, change: &Progress) -> rusqlite::Result<()> {
    match change {
        Progress::Done { lane, event } => {
            let lane = match lane {
                Lane::General => GENERAL,
                Lane::Endpoint(name) => name.as_str(),
            };
            transaction
                .prepare_cached("INSERT OR REPLACE INTO cursors (webhook, lane, event) VALUES (?1, ?2, ?3)")?
                .execute(params![webhook, lane, id_column(*event)])?;
        }
        Progress::Dead(DeadLetter { event, at, attempts, reason }) => {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO dead_letters (webhook, event, at, attempts, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![webhook, id_column(*event), at.as_millis(), attempts, reason])?;
            transaction
                .prepare_cached(
                    "DELETE FROM dead_letters WHERE webhook = ?1 AND event <= (
                         SELECT event FROM dead_letters WHERE webhook = ?1 ORDER BY event DESC LIMIT 1 OFFSET ?2
                     )",
                )?
                .execute(params![webhook, KEPT_DEAD_LETTERS])?;
        }
        Progress::Buried { event } => {
            transaction
                .prepare_cached("DELETE FROM dead_letters WHERE webhook = ?1 AND event = ?2")?
                .execute(params![webhook, id_column(*event)])?;
        }
    }
    Ok(())
}

fn read_lane(text: &str) -> Result<Lane, String> {
    match text {
        GENERAL => Ok(Lane::General),
        name => EndpointName::parse(name).map(Lane::Endpoint).map_err(|error| format!("lane: {error}")),
    }
}
