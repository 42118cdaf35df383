//! When a shift may begin beside another one: `if_running` and `start_after` of a plan.

use serde_json::{Map, Value};

use super::reader::{Table, word};
use crate::shift::{IfRunning, StartAfter, Turn};

pub(super) fn read(root: &Table<'_>) -> Turn {
    let if_running = IfRunning::ALL.map(|choice| (choice.as_str(), choice));
    let if_running = root.optional("if_running", word(&if_running)).unwrap_or_default();
    let start_after = StartAfter::ALL.map(|choice| (choice.as_str(), choice));
    let start_after = root.optional("start_after", word(&start_after)).unwrap_or_default();
    Turn { if_running, start_after }
}

pub(super) fn render(turn: Turn, document: &mut Map<String, Value>) {
    let Turn { if_running, start_after } = turn;
    document.insert("if_running".to_owned(), if_running.as_str().into());
    document.insert("start_after".to_owned(), start_after.as_str().into());
}
