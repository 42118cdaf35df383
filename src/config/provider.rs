//! Reads and writes who makes a fleet's instances.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use serde_json::{Map, Value as Json, json};

use super::{
    dns,
    document::{Value, quoted},
    instance::MAX_INSTANCES,
    reader::{Table, text, whole, word},
    shape::{ProviderShapes, Shape},
    units::{duration, format_size, positive_duration, size},
};
use crate::{
    fleet::{CommandSpec, OnExit, ProcessSpec, ProviderSpec},
    time::format_duration,
};

const ON_EXIT: [(&str, OnExit); 2] =
    [(OnExit::End.as_str(), OnExit::End), (OnExit::Keep.as_str(), OnExit::Keep)];

/// A log of less holds no stack trace; one of more is for a log collector.
const LOG_LIMITS: (u64, u64) = (4 << 10, 1 << 30);

/// `provider` of a fleet.
pub(super) fn read(fleet: &Table<'_>, shapes: &'static ProviderShapes) -> Option<ProviderSpec> {
    let shape = fleet.optional("provider", |value| Ok(shape_of(value, shapes)))?;
    fleet.table("provider", shape).and_then(|table| read_spec(&table))
}

/// The keys that go with a provider's type.
pub(super) fn shape_of(value: &Value, shapes: &'static ProviderShapes) -> &'static Shape {
    let entries = value.as_table().unwrap_or_default();
    let kind = entries.iter().find(|entry| entry.name == "type").map(|entry| word(&KINDS)(&entry.node.value));
    match kind {
        Some(Ok(Kind::Process)) => shapes.process,
        Some(Ok(Kind::Command)) => shapes.command,
        Some(Ok(Kind::Dns)) => shapes.dns,
        Some(Err(_)) | None => shapes.any,
    }
}

/// A provider by itself.
pub(super) fn read_spec(table: &Table<'_>) -> Option<ProviderSpec> {
    match table.required("type", "\"process\"", word(&KINDS))? {
        Kind::Process => read_process(table).map(ProviderSpec::Process),
        Kind::Command => read_commands(table).map(ProviderSpec::Command),
        Kind::Dns => dns::read(table).map(ProviderSpec::Dns),
    }
}

/// The values of `type`.
#[derive(Clone, Copy)]
enum Kind {
    Process,
    Command,
    Dns,
}

const KINDS: [(&str, Kind); 3] = [("process", Kind::Process), ("command", Kind::Command), ("dns", Kind::Dns)];

fn read_process(table: &Table<'_>) -> Option<ProcessSpec> {
    let example = "[\"python3\", \"serve.py\", \"--port\", \"{port}\"]";
    let command = read_command(table, "command", example);
    let env = read_env(table);
    let names_port = |text: &String| text.contains("{port}");
    if let (Some(command), Some(env)) = (&command, &env)
        && !command.iter().chain(env.values()).any(names_port)
    {
        table.problem(
            "command",
            "says nowhere where to listen: write {port} into it, or into a value of env, where the port belongs",
        );
    }
    let count = read_count(table);
    let stop_grace = table.optional("stop_grace", duration);
    let log_limit = table.optional("log_limit", size(LOG_LIMITS.0, LOG_LIMITS.1));
    let on_exit = table.optional("on_exit", word(&ON_EXIT));
    let replace_after = table.optional("replace_after", duration);
    Some(ProcessSpec {
        command: command?,
        env: env?,
        count,
        stop_grace: stop_grace.unwrap_or(ProcessSpec::STOP_GRACE),
        log_limit_bytes: log_limit.unwrap_or(ProcessSpec::LOG_LIMIT_BYTES),
        on_exit: on_exit.unwrap_or_default(),
        replace_after: replace_after.unwrap_or(ProviderSpec::REPLACE_AFTER),
    })
}

fn read_commands(table: &Table<'_>) -> Option<CommandSpec> {
    let provision = read_command(table, "provision", "[\"./provision.sh\"]");
    let list = read_command(table, "list", "[\"./list.sh\"]");
    let retire = read_command(table, "retire", "[\"./retire.sh\"]");
    let env = read_env(table);
    let count = read_count(table);
    let timeout = table.optional("timeout", positive_duration);
    let refresh = table.optional("refresh", positive_duration);
    let replace_after = table.optional("replace_after", duration);
    Some(CommandSpec {
        provision: provision?,
        list: list?,
        retire: retire?,
        env: env?,
        count,
        timeout: timeout.unwrap_or(CommandSpec::TIMEOUT),
        refresh: refresh.unwrap_or(CommandSpec::REFRESH),
        replace_after: replace_after.unwrap_or(ProviderSpec::REPLACE_AFTER),
    })
}

/// A program and its arguments.
fn read_command(table: &Table<'_>, key: &'static str, example: &str) -> Option<Vec<String>> {
    table.demand(key, example);
    let words = table.list(key, example, argument)?;
    if words.first().is_none_or(|program| program.value.is_empty()) {
        table.problem(key, format!("names no program; write for instance {example}"));
    }
    Some(words.into_iter().map(|word| word.value).collect())
}

/// The system takes no zero bytes in arguments.
fn argument(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    if text.contains('\0') { Err("holds a zero byte".to_owned()) } else { Ok(text.to_owned()) }
}

fn read_env(table: &Table<'_>) -> Option<BTreeMap<String, String>> {
    if !table.has("env") {
        return Some(BTreeMap::new());
    }
    let name = |name: &str| {
        if name.is_empty() || name.contains(['=', '\0']) {
            Err(format!("{} is not the name of a variable: leave '=' out", quoted(name)))
        } else if name.starts_with("SNAPBACK_") {
            Err(format!("{} is of the names that the proxy sets itself: write another", quoted(name)))
        } else {
            Ok(())
        }
    };
    let texts = table.texts("env", "{ PORT = \"{port}\" }", name)?;
    if let Some((name, _)) = texts.iter().find(|(_, value)| value.contains('\0')) {
        table.problem("env", format!("{name} holds a zero byte"));
    }
    Some(texts.into_iter().collect())
}

fn read_count(table: &Table<'_>) -> Option<NonZeroU32> {
    let most = u32::try_from(MAX_INSTANCES).unwrap_or(u32::MAX);
    table.optional("count", whole(1..=most)).and_then(NonZeroU32::new)
}

/// A provider as the reader takes it; every key that has a default is written.
pub(super) fn render(spec: &ProviderSpec) -> Json {
    match spec {
        ProviderSpec::Process(process) => render_process(process),
        ProviderSpec::Command(commands) => render_commands(commands),
        ProviderSpec::Dns(name) => dns::render(name),
    }
}

fn render_process(spec: &ProcessSpec) -> Json {
    let ProcessSpec { command, env, count, stop_grace, log_limit_bytes, on_exit, replace_after } = spec;
    let mut document = Map::new();
    document.insert("type".to_owned(), "process".into());
    document.insert("command".to_owned(), json!(command));
    document.insert("env".to_owned(), json!(env));
    if let Some(count) = count {
        document.insert("count".to_owned(), count.get().into());
    }
    document.insert("stop_grace".to_owned(), time(*stop_grace));
    document.insert("log_limit".to_owned(), format_size(*log_limit_bytes).into());
    document.insert("on_exit".to_owned(), on_exit.as_str().into());
    document.insert("replace_after".to_owned(), time(*replace_after));
    Json::Object(document)
}

fn render_commands(spec: &CommandSpec) -> Json {
    let CommandSpec { provision, list, retire, env, count, timeout, refresh, replace_after } = spec;
    let mut document = Map::new();
    document.insert("type".to_owned(), "command".into());
    document.insert("provision".to_owned(), json!(provision));
    document.insert("list".to_owned(), json!(list));
    document.insert("retire".to_owned(), json!(retire));
    document.insert("env".to_owned(), json!(env));
    if let Some(count) = count {
        document.insert("count".to_owned(), count.get().into());
    }
    document.insert("timeout".to_owned(), time(*timeout));
    document.insert("refresh".to_owned(), time(*refresh));
    document.insert("replace_after".to_owned(), time(*replace_after));
    Json::Object(document)
}

fn time(span: Duration) -> Json {
    format_duration(span).into()
}
