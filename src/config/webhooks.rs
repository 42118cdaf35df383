//! Where events go: `[[webhook]]` and `[events]`.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::{
    document::{Value, quoted},
    reader::{Placed, Table, parsed, text, whole},
    shape,
    units::{format_size, positive_duration, size},
};
use crate::{
    alarm::{PollUrl, Token},
    name::EndpointName,
    time::format_duration,
};

/// Each has tasks and lanes of its own; past this many, one receiver that distributes is the better design.
const MOST_WEBHOOKS: usize = 32;

/// As long as a receiver that answers before it works needs, with a slow network.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// With waits that double from 1 s to 5 min these are some two hours: an outage of the receiver that is noticed and mended costs nothing.
const DEFAULT_ATTEMPTS: u32 = 30;
const MOST_ATTEMPTS: u32 = 10_000;

/// What is a day old is news no more.
const DEFAULT_GIVE_UP: Duration = Duration::from_secs(86_400);

const DEFAULT_PAGE: u64 = 64 << 20;
const LEAST_PAGE: u64 = 64 << 10;
const MOST_PAGE: u64 = 1 << 40;
const DEFAULT_PAGES: u32 = 4;
const MOST_PAGES: u32 = 1_000;

/// `[[webhook]]`: where events are sent.
#[derive(Clone, PartialEq, Debug)]
pub struct WebhookSpec {
    /// Its name, for commands and metrics.
    pub name: String,
    /// Where they are sent.
    pub url: PollUrl,
    /// Where the secret is that signs them.
    pub secret: Token,
    /// Where they are put on a bus of events instead.
    pub bridge: Option<Bridge>,
    /// The kinds that are wanted: whole, or a beginning before `*`.
    pub kinds: Vec<String>,
    /// The endpoints whose events are wanted; none: all, and what is of no endpoint too.
    pub endpoints: Vec<EndpointName>,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// So many failed attempts make an event a dead letter.
    pub attempts: u32,
    /// So old it may become, with an attempt that failed.
    pub give_up: Duration,
    /// The authorities that sign the receiver's certificate; none: those that this machine trusts.
    pub ca: Option<PathBuf>,
}

/// A file that grows in pages, such as that of `[events]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PagedFile {
    /// The page that is written.
    pub path: PathBuf,
    /// How large a page becomes.
    pub page_bytes: u64,
    /// How many full pages are kept beside it.
    pub pages: u32,
}

/// A bus of events of Amazon's, or of what speaks its protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bridge {
    /// The id of the key whose secret signs.
    pub key: String,
    /// The region in signatures.
    pub region: String,
    /// Which bus.
    pub bus: String,
    /// Under whose name events are put; none: as the service of Amazon's would.
    pub source: Option<String>,
}

impl WebhookSpec {
    /// Whether an event of this endpoint and kind is sent.
    pub fn wants(&self, endpoint: Option<&EndpointName>, kind: &str) -> bool {
        let fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => kind == wanted,
        };
        let is_ours = |name| self.endpoints.contains(name);
        (self.endpoints.is_empty() || endpoint.is_some_and(is_ours)) && self.kinds.iter().any(fits)
    }
}

/// Every `[[webhook]]`.
pub(super) fn read(root: &Table<'_>) -> Option<Vec<WebhookSpec>> {
    let tables = root.tables("webhook", &shape::WEBHOOK);
    if tables.len() > MOST_WEBHOOKS {
        let count = tables.len();
        root.problem("webhook", format!("{count} are more than the {MOST_WEBHOOKS} there can be"));
    }
    let webhooks: Vec<_> = tables.iter().map(read_one).collect();
    let mut names = BTreeSet::new();
    for (table, webhook) in tables.iter().zip(&webhooks) {
        if let Some(webhook) = webhook
            && !names.insert(&webhook.name)
        {
            table.problem("name", format!("there are two webhooks called {:?}", webhook.name));
        }
    }
    webhooks.into_iter().collect()
}

/// The file of `[events]`, if there is one.
pub(super) fn read_file(table: &Table<'_>) -> Option<PagedFile> {
    let path = table.optional("file", path);
    let (page_bytes, pages) = read_pages(table);
    Some(PagedFile { path: path?, page_bytes, pages })
}

/// How large a page becomes, and how many full ones are kept.
pub(super) fn read_pages(table: &Table<'_>) -> (u64, u32) {
    let page_bytes = table.optional("page", size(LEAST_PAGE, MOST_PAGE)).unwrap_or(DEFAULT_PAGE);
    let pages = table.optional("pages", whole(0..=MOST_PAGES)).unwrap_or(DEFAULT_PAGES);
    (page_bytes, pages)
}

/// What is configured, in a line.
pub(super) fn describe(webhooks: &[WebhookSpec]) -> String {
    let all = webhooks.iter().map(|webhook| {
        let WebhookSpec { name, url, secret, bridge, kinds, endpoints, timeout, attempts, give_up, ca } =
            webhook;
        let (timeout, give_up) = (format_duration(*timeout), format_duration(*give_up));
        format!(
            "{name}: url {url}, secret {secret:?}, bus {bridge:?}, events {kinds:?}, endpoints {endpoints:?}, timeout {timeout}, attempts \
             {attempts}, give_up {give_up}, ca {ca:?}"
        )
    });
    let all: Vec<_> = all.collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join("; ") }
}

/// The same of the file.
pub(super) fn describe_file(file: Option<&PagedFile>) -> String {
    let Some(PagedFile { path, page_bytes, pages }) = file else { return "nothing".to_owned() };
    format!("{path:?}, page = {:?}, pages = {pages}", format_size(*page_bytes))
}

fn read_one(table: &Table<'_>) -> Option<WebhookSpec> {
    let name = table.required("name", "\"ops\"", parsed(name));
    let url = table.required("url", "\"https://hooks.internal/snapback\"", parsed(PollUrl::parse));
    let secret = read_secret(table, "deliveries are signed");
    let bridge = read_bridge(table);
    let kinds = table.list("events", "[\"shift.*\"]", kind);
    let endpoints = table.list("endpoints", "[\"chat\"]", parsed(EndpointName::parse));
    let timeout = table.optional("timeout", positive_duration).unwrap_or(DEFAULT_TIMEOUT);
    let attempts = table.optional("attempts", whole(1..=MOST_ATTEMPTS)).unwrap_or(DEFAULT_ATTEMPTS);
    let give_up = table.optional("give_up", positive_duration).unwrap_or(DEFAULT_GIVE_UP);
    let ca = table.optional("ca", path);
    if ca.is_some() && url.as_ref().is_some_and(|url| !url.is_secure()) {
        table.problem("ca", "has no use with an http URL: write https, or leave it out");
    }
    let values = |placed: Vec<Placed<String>>| placed.into_iter().map(|placed| placed.value).collect();
    Some(WebhookSpec {
        name: name?,
        url: url?,
        secret: secret?,
        kinds: kinds.map_or_else(|| vec![default_kinds(bridge.as_ref())], values),
        bridge,
        endpoints: endpoints.unwrap_or_default().into_iter().map(|placed| placed.value).collect(),
        timeout,
        attempts,
        give_up,
        ca,
    })
}

/// On a bus, what Amazon's services would send.
fn default_kinds(bridge: Option<&Bridge>) -> String {
    if bridge.is_some() { "aws.*".to_owned() } else { "*".to_owned() }
}

fn read_bridge(table: &Table<'_>) -> Option<Bridge> {
    let key = table.optional("key_id", parsed(word));
    let (region, bus) = (table.optional("region", parsed(word)), table.optional("bus", parsed(word)));
    let source = table.optional("source", parsed(word));
    if !table.has("key_id") {
        for name in ["region", "bus", "source"] {
            if table.has(name) {
                table.problem(
                    name,
                    "is only for a bus of events: give the key that signs in key_id, or leave it out",
                );
            }
        }
        return None;
    }
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    let bus = bus.unwrap_or_else(|| "default".to_owned());
    Some(Bridge { key: key?, region, bus, source })
}

/// Letters, digits and what names of Amazon's things have besides.
fn word(text: &str) -> Result<String, String> {
    let fits = (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:".contains(&byte));
    let problem = || format!("{} is none: use 1 to 256 letters, digits or any of _ - . / :", quoted(text));
    if fits { Ok(text.to_owned()) } else { Err(problem()) }
}

/// The secret itself is in no file that is shown, copied and checked in.
pub(super) fn read_secret(table: &Table<'_>, what_for: &str) -> Option<Token> {
    let file = table.optional("secret_file", path).map(Token::File);
    let variable = table.optional("secret_env", variable).map(Token::Environment);
    match (table.has("secret_file"), table.has("secret_env")) {
        (false, false) => table.problem(
            "secret_file",
            format!(
                "is missing: {what_for}; write secret_file = \"/etc/snapback/hook.secret\", or secret_env with a variable's name"
            ),
        ),
        (true, true) => {
            table.problem("secret_env", "there is one place for secrets: keep either secret_file or secret_env");
        }
        (true, false) | (false, true) => {}
    }
    file.or(variable)
}

fn name(text: &str) -> Result<String, String> {
    let fits = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let problem = || format!("{} is not a webhook's name: use 1 to 63 letters, digits, _ or -", quoted(text));
    if fits { Ok(text.to_owned()) } else { Err(problem()) }
}

fn kind(value: &Value) -> Result<String, String> {
    let given = text(value)?;
    let letters = given.strip_suffix('*').unwrap_or(given);
    let fits =
        !given.is_empty() && letters.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte));
    if fits {
        Ok(given.to_owned())
    } else {
        Err(format!(
            "{} is not a kind of event: write one such as \"shift.state\", or the beginning of several, \"shift.*\"",
            quoted(given)
        ))
    }
}

fn path(value: &Value) -> Result<PathBuf, String> {
    match text(value)? {
        "" => Err(format!("{} is not a path", quoted(""))),
        path => Ok(path.into()),
    }
}

fn variable(value: &Value) -> Result<String, String> {
    let name = text(value)?;
    let fits = !name.is_empty() && !name.contains(['=', '\0']);
    if fits { Ok(name.to_owned()) } else { Err(format!("{} is not a variable's name", quoted(name))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const HOOK: &str = "[[webhook]]\nname = \"ops\"\nurl = \"https://hooks/x\"\nsecret_env = \"HOOK\"\n";

    fn webhook(lines: &str) -> WebhookSpec {
        let config =
            parse(&format!("{HOOK}{lines}"), "c.toml").unwrap_or_else(|problems| panic!("{problems}"));
        config.webhooks.into_iter().next().unwrap()
    }

    fn problems(text: &str) -> String {
        parse(text, "c.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_webhook_gets_everything_unless_it_says_what() {
        let (chat, score) = (EndpointName::parse("chat").unwrap(), EndpointName::parse("score").unwrap());
        let all = webhook("");
        assert!(all.wants(None, "config.reloaded") && all.wants(Some(&chat), "shift.state"));
        assert_eq!((all.timeout, all.attempts), (Duration::from_secs(10), 30));
        let some = webhook("events = [\"shift.*\", \"alarm.state\"]\nendpoints = [\"chat\"]\n");
        for (endpoint, kind, wanted) in [
            (Some(&chat), "shift.state", true),
            (Some(&chat), "alarm.state", true),
            (Some(&chat), "alarm.states", false),
            (Some(&chat), "endpoint.put", false),
            (Some(&score), "shift.state", false),
            (None, "shift.state", false),
        ] {
            assert_eq!(some.wants(endpoint, kind), wanted, "{endpoint:?} {kind}");
        }
    }

    #[test]
    fn with_a_keys_id_it_is_a_bus_and_gets_what_amazons_services_would_send() {
        let bus = webhook("key_id = \"AKIAX\"\nbus = \"models\"\n");
        let bridge = bus.bridge.clone().unwrap();
        assert_eq!(
            (bridge.bus.as_str(), bridge.region.as_str(), bridge.source),
            ("models", "us-east-1", None)
        );
        assert!(bus.wants(None, "aws.event") && !bus.wants(None, "shift.state"));
        assert!(problems(&format!("{HOOK}bus = \"models\"\n")).contains("only for a bus of events"));
        assert!(problems(&format!("{HOOK}key_id = \"a b\"\n")).contains("webhook[0].key_id"));
    }

    #[test]
    fn what_is_wrong_with_a_webhook_is_said_with_what_would_be_right() {
        for (text, says) in [
            (
                "[[webhook]]\nname = \"ops\"\nurl = \"https://a/\"\n".to_owned(),
                "webhook[0].secret_file: is missing",
            ),
            (format!("{HOOK}secret_file = \"x\"\n"), "keep either secret_file or secret_env"),
            (format!("{HOOK}secret = \"x\"\n"), "unknown key"),
            (
                format!("{HOOK}events = [\"Shift\"]\n"),
                "webhook[0].events[0]: \"Shift\" is not a kind of event",
            ),
            (format!("{HOOK}endpoints = [\"a b\"]\n"), "webhook[0].endpoints[0]"),
            (format!("{HOOK}attempts = 0\n"), "webhook[0].attempts: expected a whole number from 1 to 10000"),
            (format!("{HOOK}give_up = \"0s\"\n"), "webhook[0].give_up: must be longer than 0s"),
            (format!("{HOOK}{HOOK}"), "there are two webhooks called \"ops\""),
            (
                HOOK.replace("https", "http") + "ca = \"ca.pem\"\n",
                "webhook[0].ca: has no use with an http URL",
            ),
            (HOOK.replace("ops", "o/s"), "is not a webhook's name"),
            (HOOK.replace("https://hooks/x", "https://me:pw@hooks/x"), "webhook[0].url"),
            ("[events]\nfile = \"\"\n".to_owned(), "events.file: \"\" is not a path"),
            ("[events]\nfile = \"e\"\npage = \"1KiB\"\n".to_owned(), "events.page"),
            (
                "[state]\nkeep_events = 10\n".to_owned(),
                "state.keep_events: expected a whole number from 1000",
            ),
        ] {
            let found = problems(&text);
            assert!(found.contains(says), "{text}\n{found}");
        }
    }

    #[test]
    fn a_changed_webhook_takes_a_restart_and_says_so() {
        let old = parse(HOOK, "c.toml").unwrap();
        let new = parse(&format!("{HOOK}attempts = 3\n[events]\nfile = \"e.jsonl\"\n"), "c.toml").unwrap();
        let lines = old.restart_needed(&new).join("\n");
        assert!(lines.contains("webhook = ") && lines.contains("events.file = \"e.jsonl\""), "{lines}");
        assert!(lines.contains("attempts 3"), "{lines}");
    }
}
