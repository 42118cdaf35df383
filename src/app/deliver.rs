//! Starts what carries events out, and tells when the file of events knows more than the journal.

use std::sync::Arc;

use super::StartError;
use crate::{
    admin,
    config::Config,
    control::Handle,
    delivery::{self, Delivery, Webhooks},
    store::{Hash, Head, Journal, Outbox, SqliteJournal, StoreError},
};

/// Who compares the file with the journal.
const ACTOR: &str = "recovery";

/// What is wrong with a journal that ends before the file of events does, or otherwise: it has lost its end, by a fault or by somebody's hand.
/// It goes on all the same. To be asked before anything is added to it. Blocks.
pub(super) fn difference(config: &Config, journal: &SqliteJournal) -> Result<Option<String>, StoreError> {
    let Some(file) = &config.events_file else { return Ok(None) };
    let path = file.path.display();
    let written = match delivery::last_written(&file.path) {
        Ok(Some(written)) => written,
        Ok(None) => return Ok(None),
        Err(error) => {
            tracing::warn!(%error, %path, "the events' file cannot be read, so the journal's end is not checked by it");
            return Ok(None);
        }
    };
    let newest = journal.chain()?.head.id;
    let known = journal.event(written.id)?.map(|event| event.head());
    let how = compare(written, newest, known);
    let Head { id, hash } = written;
    Ok(how.map(|how| format!("{how}: {path} ends with event {id} {hash}, the journal with event {newest}")))
}

/// Goes on delivering.
pub(super) async fn start(
    config: &Config,
    handle: &Handle,
    journal: Arc<SqliteJournal>,
    difference: Option<String>,
) -> Result<(Delivery, Webhooks), StartError> {
    if let Some(cause) = difference {
        tracing::error!("{cause}");
        if let Err(error) = handle.note("journal.cut", cause, ACTOR).await {
            tracing::warn!(%error, "that the journal was cut is missing in the events");
        }
    }
    Ok(delivery::start(delivery::Parts {
        webhooks: config.webhooks.clone(),
        file: config.events_file.clone(),
        journal: journal.clone(),
        outbox: journal,
        events: handle.subscribe(),
        render: admin::event_json,
    })?)
}

/// An event that was compacted away proves nothing, nor does one from before there was a chain.
fn compare(written: Head, newest: u64, known: Option<Head>) -> Option<&'static str> {
    let differs = |known: Head| known.hash != written.hash && written.hash != Hash::NONE;
    if written.id > newest {
        Some("the journal's end was cut off, or it is another journal")
    } else if known.is_some_and(differs) {
        Some("the journal has another event where the events' file ends")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_ends_before_the_file_or_otherwise_is_told_apart_from_one_that_was_compacted() {
        let hash = |digit: char| Hash::parse(&digit.to_string().repeat(64)).unwrap();
        let written = Head { id: 7, hash: hash('a') };
        assert!(compare(written, 6, None).unwrap().contains("cut off"));
        assert!(
            compare(written, 9, Some(Head { id: 7, hash: hash('b') })).unwrap().contains("another event")
        );
        assert_eq!(compare(written, 9, Some(written)), None);
        assert_eq!(compare(written, 9_000, None), None);
    }
}
