//! What must hold for any bytes that reach a parser of this program: a function each, which panics when it does not.
//!
//! Built for tests and for `cargo fuzz` alone. `tests/fuzz` has a libFuzzer target for each function; the tests here try each with
//! random bytes, with pieces of what it reads, and with every input that was once found to break it.

use serde_json::Value;

use crate::{
    config::{self, PlanSpec},
    fleet::Address,
    net::{ListenAddress, TrustedProxy, read_proxy_header},
    route::{GrpcScanner, JsonScanner, PromptScanner, Rewrite, Scan, model_of_path, normalise},
};

use crate::proxy::fuzzing::pieces;
pub use crate::proxy::fuzzing::{authority, chunks, events, preface, request, request_head, response};

/// What a scanner says after these pieces.
fn scan<T>(choice: u8, text: &[u8], mut feed: impl FnMut(&[u8]) -> Scan<T>) -> Scan<T> {
    for piece in pieces(choice, text) {
        match feed(piece) {
            Scan::More => {}
            known @ (Scan::Found(_) | Scan::Absent) => return known,
        }
    }
    Scan::More
}

/// A PROXY protocol header is read within its bounds and nothing after it is.
pub fn proxy_header(bytes: &[u8]) {
    let mut left = bytes;
    let read = read_proxy_header(&mut left);
    let read = futures_util::FutureExt::now_or_never(read).expect("memory is always ready");
    let taken = bytes.len() - left.len();
    assert!(taken <= 16 + 4096, "{taken} bytes of a header");
    if read.is_ok() {
        let mut again = bytes.get(..taken).unwrap_or_default();
        let second = futures_util::FutureExt::now_or_never(read_proxy_header(&mut again));
        assert_eq!(second.map(Result::ok), Some(read.ok()), "a header is what was taken and nothing more");
    }
}

/// The model in a JSON body is the one that a full parser finds.
pub fn json_model(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let (mut scanner, mut whole) = (JsonScanner::default(), JsonScanner::default());
    let found = whole.feed(text);
    assert_eq!(scan(*choice, text, |piece| scanner.feed(piece)), found, "the cut changes the name");
    let Ok(Value::Object(document)) = serde_json::from_slice::<Value>(text) else { return };
    if depth(&Value::Object(document)) <= 64 {
        let model = first_model(text).as_ref().and_then(Value::as_str).map(str::to_owned);
        let wanted = model.filter(|model| model.len() <= 256).map_or(Scan::Absent, Scan::Found);
        assert_eq!(found, wanted);
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The first member called `model`; a map would give the last.
fn first_model(text: &[u8]) -> Option<Value> {
    struct First;
    impl<'d> serde::de::Visitor<'d> for First {
        type Value = Option<Value>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'d>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut first = None;
            while let Some((key, value)) = members.next_entry::<String, Value>()? {
                if key == "model" && first.is_none() {
                    first = Some(value);
                }
            }
            Ok(first)
        }
    }
    serde::Deserializer::deserialize_map(&mut serde_json::Deserializer::from_slice(text), First).ok()?
}

/// The hash of a prompt does not depend on the cut.
pub fn prompt(bytes: &[u8]) {
    let [choice, length, text @ ..] = bytes else { return };
    let length = usize::from(*length).max(1);
    let (mut cut, mut whole) = (PromptScanner::new(length), PromptScanner::new(length));
    assert_eq!(scan(*choice, text, |piece| cut.feed(piece)), whole.feed(text));
}

/// The model of a gRPC call does not depend on the cut, and stands in the message.
pub fn grpc_model(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let (mut cut, mut whole) = (GrpcScanner::default(), GrpcScanner::default());
    let found = whole.feed(text);
    assert_eq!(scan(*choice, text, |piece| cut.feed(piece)), found);
    if let Scan::Found(name) = found {
        assert!((1..=256).contains(&name.len()));
        let start = text.get(7..9 + name.len()).unwrap_or(text.get(7..).unwrap_or_default());
        assert!(start.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
    }
}

/// A normalised path has no dot segments and does not change when it is normalised again; a rewritten one begins with a slash.
pub fn path(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    // No target has a bare zero byte, and a path in a configuration is a target too.
    if !path.starts_with('/') || path.contains('\0') {
        return;
    }
    if let Some(target) = Rewrite::new("/a", "/b/c").apply(path, Some("q")) {
        assert!(target.starts_with("/b/c") && target.ends_with("?q"), "{target}");
    }
    let Ok(normal) = normalise(path) else { return };
    assert!(normal.starts_with('/') && !normal.contains(['\\', '\0']) && !normal.contains("//"), "{normal}");
    assert!(!normal.split('/').any(|segment| matches!(segment, "." | "..")), "{normal}");
    if !normal.contains('%') {
        assert_eq!(normalise(&normal).as_deref(), Ok(&*normal));
    }
}

/// The model that a path names is not empty and within its bound.
pub fn path_model(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    if let Some(model) = model_of_path(path) {
        assert!((1..=256).contains(&model.len()), "{model}");
    }
}

/// A configuration file that is accepted is accepted again, and so is each of its endpoints as JSON; one that is refused says why.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match config::parse(text, "fuzzed.toml") {
        Ok(config) => {
            for endpoint in config.endpoints {
                let again = config::EndpointSpec::from_json(&endpoint.name, &endpoint.to_json());
                assert_eq!(again.ok(), Some(endpoint));
            }
        }
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
}

/// A plan that is accepted reads back from JSON to the same plan; one that is refused says why.
pub fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match PlanSpec::from_toml(text, "fuzzed.toml") {
        Ok(plan) => assert_eq!(PlanSpec::from_json(&plan.to_json()).ok(), Some(plan)),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
}

/// Addresses and networks are written as they are read.
pub fn addresses(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(proxy) = TrustedProxy::parse(text) {
        assert_eq!(TrustedProxy::parse(&proxy.to_string()), Ok(proxy));
    }
    if let Ok(address) = ListenAddress::parse(text) {
        assert_eq!(ListenAddress::parse(&address.to_string()), Ok(address));
    }
    if let Ok(address) = Address::parse(text) {
        assert_eq!(Address::parse(address.as_str()), Ok(address));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    type Property = fn(&[u8]);

    /// Each property, and pieces of what its parser reads.
    const PROPERTIES: [(&str, Property, &str); 15] = [
        ("addresses", addresses, "127.0.0.1|:80|/8|::1|[|]|unix|unix:/a|fd00::"),
        ("authority", authority, "a|.b|:80|[::1]|:|%41|@|127.0.0.1"),
        ("chunks", chunks, "0|\r\n|3|abc|\r\n\r\n|;a=b|a:b|f|\n"),
        (
            "config",
            config,
            "[data]\n|listen = [\"127.0.0.1:0\"]\n|[[endpoint]]\n|name = \"a\"\n|blue = { version = \"1\", instances = [\"a:1\"] }\n|match = { host = \"a\" }\n|\"|=",
        ),
        ("events", events, "data: |{\"choices\":[]}|\n|\r|\r\n|:|[DONE]|event: error|{\"error\":1}"),
        ("grpc_model", grpc_model, "\0|\0\0\0\0\u{9}|\n|\u{4}|iris|\u{12}"),
        (
            "json_model",
            json_model,
            "{|}|\"model\"|:|\"m\"|,|[|]|\"|\\u0041|\\ud83d|1|-|.5|e+3|null|true| |\"mod\\u0065l\"|\u{feff}",
        ),
        ("path", path, "/|..|.|%2e|%2f|%00|\\|a|b|%"),
        ("path_model", path_model, "/v2/models/|/v1/models/|:predict|a|%2F|%|/"),
        (
            "plan",
            plan,
            "[strategy]\n|type = \"all_at_once\"\n|final_bake = \"1s\"\n|green = { version = \"1\", instances = [\"a:1\"] }\n|[[guard]]\n|metric = \"error_rate\"\nbelow = \"1%\"\n",
        ),
        ("preface", preface, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n|PRI|GET / HTTP/1.1\r\n"),
        ("prompt", prompt, "\u{9}|{|}|\"prompt\":|\"a\"|,|\"messages\"|:|[|]|\"x\":1"),
        (
            "proxy_header",
            proxy_header,
            "PROXY |TCP4 |TCP6 |UNKNOWN|1.2.3.4 |::1 |1 |2\r\n|\r\n\r\n\0\r\nQUIT\n|\u{21}\u{11}\0\u{c}|\0\0\0\0",
        ),
        (
            "request",
            request,
            "\u{1}GET\n/a?b\nhost:a\n|POST\n/\nhost:b\n|x:y\n|connection:x\n|cookie:a=1\n|forwarded:for=1\n|x-forwarded-for:1\n|content-length:3\n|te:trailers\n|x_snapback_fleet:a\n",
        ),
        (
            "request_head",
            request_head,
            "\u{7}GET / HTTP/1.1\r\n|POST /a HTTP/1.0\r\n|host: a\r\n|\r\n|\n|content-length: 3\r\n|transfer-encoding: chunked\r\n|connection: close\r\n|te: trailers\r\n|expect: 100-continue\r\n|abc|x: y\r\n",
        ),
    ];

    #[test]
    fn every_property_holds_for_what_its_parser_reads_in_any_order() {
        for (name, holds, words) in PROPERTIES {
            let words: Vec<Vec<u8>> = words.split('|').map(|word| word.as_bytes().to_vec()).collect();
            let word = prop_oneof![
                8 => prop::sample::select(words),
                1 => prop::collection::vec(any::<u8>(), 0..6),
            ];
            let text = (any::<u8>(), prop::collection::vec(word, 0..12));
            let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
            proptest::test_runner::TestRunner::new(config)
                .run(&text, |(first, words)| {
                    let text = words.concat();
                    holds(&[&[first], &text[..]].concat());
                    holds(&text);
                    Ok(())
                })
                .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        }
    }

    #[test]
    fn responses_of_likely_lines_hold() {
        let line = prop::sample::select(vec![
            "content-length: 3\r\n",
            "transfer-encoding: chunked\r\n",
            "connection: close, x\r\n",
            "x: y\r\n",
            "\r\n",
            "abc",
            "0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 103 Early\r\n\r\n",
            "HTTP/1.0 204\r\n",
            "\n",
        ]);
        let text = (any::<u8>(), prop::collection::vec(line, 0..9));
        proptest!(|((first, lines) in text)| {
            response(&[&[first], &b"HTTP/1.1 200 OK\r\n"[..], lines.concat().as_bytes()].concat());
            response(&[&[first], lines.concat().as_bytes()].concat());
        });
    }

    #[test]
    fn what_was_once_found_is_not_found_again() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found");
        let response: (&str, Property, &str) = ("response", response, "");
        for (name, holds, _) in PROPERTIES.into_iter().chain([response]) {
            for entry in fs::read_dir(folder.join(name)).into_iter().flatten() {
                holds(&fs::read(entry.unwrap().path()).unwrap());
            }
        }
    }

    #[test]
    fn every_property_has_a_target_and_every_target_a_property() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/targets");
        let mut targets: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().replace(".rs", ""))
            .collect();
        targets.sort();
        let mut names: Vec<_> = PROPERTIES.iter().map(|(name, ..)| *name).chain(["response"]).collect();
        names.sort_unstable();
        assert_eq!(targets, names);
    }
}
