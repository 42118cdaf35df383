//! What the compiler does not check about the source: imports point downward only, the modules that decide name no runtime and no
//! clock, files stay short, every configuration key is documented with its reason, and nothing is left to do.
//!
//! The source is read as tokens, without comments and string literals: a comment may speak of a clock, and a message of a socket.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use snapback::config::{known_keys, known_plan_keys};

/// Every module from top to bottom, and what it may import besides itself. `pure` and `leaves` stand for [`PURE`] and [`LEAVES`];
/// a longer path permits only what is below it.
const LAYERS: &[(&str, &str)] = &[
    // What must hold for any bytes; built for tests and for `cargo fuzz` alone.
    ("fuzzing", "proxy config net route fleet"),
    ("docs", ""),
    ("main", "demo app cli"),
    ("demo", "app cli admin::wire config telemetry clock pure leaves"),
    (
        "app",
        "admin control proxy delivery store provider telemetry tls aws config net fault clock pure leaves",
    ),
    // Commands know the admin port's representations and nothing of what is behind them: they work from another machine.
    ("cli", "admin::wire lint replay tls config net clock fleet leaves"),
    (
        "admin",
        "control delivery store telemetry lint replay trial tls aws cloudwatch config net clock pure leaves",
    ),
    // Control and the proxy share what `app` gives to both, and never import each other.
    ("control", "store provider telemetry lint replay trial tls config net fault clock pure leaves"),
    ("proxy", "telemetry tls aws net clock pure leaves"),
    // Reads the journal behind whoever writes it, and is asked by nobody but the admin port.
    ("delivery", "store telemetry tls aws pages config net clock pure leaves"),
    ("store", "config clock pure leaves"),
    ("provider", "fault clock pure leaves"),
    ("telemetry", "pages config clock pure leaves"),
    ("tls", "config net pure leaves"),
    // Between what a plan says and whoever runs or reads it: commands forecast without a proxy in reach.
    ("lint", "config pure leaves"),
    // Plays plans over recorded outcomes, wherever a command runs.
    ("replay", "trial config pure leaves"),
    // Judges a green that serves and one that is replayed, by the same code.
    ("trial", "config pure leaves"),
    ("config", "net pure leaves"),
    ("net", "fleet leaves"),
    // Checks signatures on whichever port they come to.
    ("aws", "leaves"),
    ("clock", "time"),
    ("pages", ""),
    // Metrics and alarms for Amazon's clients, told the time by whoever asks.
    ("cloudwatch", "alarm meter fleet leaves"),
    // A point names what is about to happen in words of whoever comes to it.
    ("fault", ""),
    // The engine is told what the alarms say in its own words, so that it can be tested without a statistic.
    ("shift", "fleet leaves"),
    // Metrics and alarms for Amazon's clients, told the time by whoever asks.
    ("cloudwatch", "alarm meter fleet leaves"),
    ("alarm", "meter leaves"),
    ("route", "fleet meter leaves"),
    ("meter", "fleet leaves"),
    ("fleet", "leaves"),
    ("name", ""),
    ("time", ""),
    ("version", ""),
    ("weight", ""),
];

const PURE: &str = "cloudwatch shift alarm route meter fleet";
const LEAVES: &str = "name time version weight";

/// Paths, with all below them, that mean I/O, a clock, a logger or randomness from nowhere.
const IMPURE_PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "rand::random",
    "rand::rng",
    "rand::rngs::SysRng",
    "rand::rngs::ThreadRng",
    "axum",
    "hyper",
    "hyper_util",
    "log",
    "metrics",
    "rusqlite",
    "socket2",
    "tokio",
    "tower",
    "tracing",
];

/// The bell holds a handle to the thread that it wakes; it starts none and waits for none. Tests of what threads share run two within
/// a scope.
const PURE_AFTER_ALL: &[&str] = &["std::thread::Thread", "std::thread::current", "std::thread::scope"];

const IMPURE_MACROS: &[&str] = &["dbg", "eprint", "eprintln", "print", "println"];

const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented"];

/// A reader holds a file of 250 lines in the head, and none of this many. Tests are read too.
const MOST_LINES: usize = 600;

/// One file under src/.
struct Source {
    /// From the package's root.
    path: PathBuf,
    /// The first part of its path below src/.
    module: String,
    tokens: Vec<Token>,
}

#[derive(Clone, PartialEq, Debug)]
struct Token {
    line: usize,
    text: String,
}

/// A path in the source, such as `std::fs::read`, and the line on which its last part stands.
#[derive(PartialEq, Debug)]
struct Mention {
    line: usize,
    path: String,
}

#[test]
fn imports_point_downward() {
    let mut wrong = String::new();
    for source in sources() {
        let Some((_, row)) = LAYERS.iter().find(|(module, _)| *module == source.module) else {
            writeln!(wrong, "{}: module {} has no row in LAYERS", source.path.display(), source.module)
                .unwrap();
            continue;
        };
        let root = if source.module == "main" { "snapback" } else { "crate" };
        for Mention { line, path } in source.mentions(&[root]) {
            let path = path.trim_start_matches(root).trim_start_matches("::");
            let is_permitted = |permitted: &str| lies_below(path, permitted);
            if !is_permitted(&source.module) && !expand(row).any(is_permitted) {
                writeln!(
                    wrong,
                    "{}:{line}: {} must not import {path}; it may import: {row}",
                    source.path.display(),
                    source.module
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "imports point downward only (the table is LAYERS in tests/tidy.rs):\n{wrong}");
}

#[test]
fn the_table_of_layers_points_downward_itself() {
    for (place, (module, row)) in LAYERS.iter().enumerate() {
        for permitted in expand(row) {
            let name = permitted.split("::").next().unwrap_or_default();
            let below = LAYERS[place + 1..].iter().any(|(lower, _)| *lower == name);
            assert!(below, "LAYERS lets {module} import {permitted}, which has no row below it");
        }
    }
}

#[test]
fn modules_that_decide_name_no_runtime_no_clock_and_no_logger() {
    let roots: Vec<&str> = IMPURE_PATHS.iter().filter_map(|path| path.split("::").next()).collect();
    let mut wrong = String::new();
    for source in sources() {
        let is_pure = expand("pure replay trial lint leaves").any(|module| module == source.module);
        if !is_pure || source.is_test() {
            continue;
        }
        let paths = source.mentions(&roots).into_iter().filter(|mention| is_impure(&mention.path));
        for Mention { line, path } in paths.chain(source.macros(IMPURE_MACROS)) {
            let file = source.path.display();
            writeln!(wrong, "{file}:{line}: {path} in {}, which is pure", source.module).unwrap();
        }
    }
    assert!(wrong.is_empty(), "time, randomness and outcomes of I/O are arguments of what decides:\n{wrong}");
}

#[test]
fn files_are_short() {
    let mut wrong = String::new();
    for path in ["src", "tests", "benches"].iter().flat_map(|folder| files_below(folder, "rs")) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        if lines > MOST_LINES {
            writeln!(wrong, "{}:{lines}: the file ends here", path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "a file has at most {MOST_LINES} lines; split it by its ideas:\n{wrong}");
}

#[test]
fn what_a_document_says_is_held_by_a_test_is_held_by_one() {
    let tests: Vec<String> = ["src", "tests"].into_iter().flat_map(names_of_tests).collect();
    let (mut wrong, mut cited) = (String::new(), 0);
    for path in files_below("src/docs", "md") {
        let text = fs::read_to_string(&path).unwrap();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let mut is_table_of_tests = false;
        for (line, row) in (1..).zip(text.lines()) {
            is_table_of_tests =
                row == "| What must hold | Where | Held by |" || is_table_of_tests && row.starts_with('|');
            if !is_table_of_tests {
                continue;
            }
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
            let [_, code, held] = cells[..] else { panic!("{file}:{line}: {} cells", cells.len()) };
            for place in in_backticks(code).filter(|place| !root().join(place).exists()) {
                writeln!(wrong, "{file}:{line}: there is no {place}").unwrap();
            }
            for name in in_backticks(held) {
                cited += 1;
                if !tests.iter().any(|test| test == name) {
                    writeln!(wrong, "{file}:{line}: there is no test {name}").unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "documents under src/docs cite what there is:\n{wrong}");
    assert!(cited > 100, "{cited} tests are cited");
}

fn names_of_tests(folder: &str) -> Vec<String> {
    let named = |rest: &str| rest.split('(').next().unwrap_or_default().to_owned();
    let mut names = Vec::new();
    for path in files_below(folder, "rs") {
        let text = fs::read_to_string(&path).expect("a file of this package can be read");
        for (place, _) in text.match_indices("fn ") {
            let before = text[..place].trim_end().trim_end_matches("async").trim_end();
            // The attributes of a test say so in the line above, whatever else they say.
            if before.lines().next_back().is_some_and(|line| line.contains("#[") && line.contains("test")) {
                names.push(named(&text[place + "fn ".len()..]));
            }
        }
    }
    for path in files_below(folder, "py") {
        let text = fs::read_to_string(&path).expect("a file of this package can be read");
        names.extend(text.split("def ").skip(1).map(named).filter(|name| name.starts_with("test_")));
    }
    names
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn a_panic_ends_what_it_concerns_and_not_the_process() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(
        !manifest.contains("panic ="),
        "no profile may abort: a request that panics would end all others"
    );
}

#[test]
fn nothing_is_left_to_do() {
    let mut wrong = String::new();
    for source in sources() {
        for Mention { line, path } in source.macros(UNFINISHED_MACROS) {
            writeln!(wrong, "{}:{line}: {path}", source.path.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "unfinished code:\n{wrong}");
}

#[test]
fn every_configuration_key_is_documented_with_its_reason() {
    let mut wrong = String::new();
    for (file, keys) in [("config/snapback.toml", known_keys()), ("config/plan.toml", known_plan_keys())] {
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let documented = documented_keys(&text);
        for key in keys {
            match documented.iter().find(|(documented, _, _)| *documented == key) {
                None => writeln!(wrong, "{file}:1: {key} is missing").unwrap(),
                Some((_, line, Reason::Missing)) => {
                    writeln!(wrong, "{file}:{line}: {key} has no reason").unwrap()
                }
                Some((_, _, Reason::Given)) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "reference files show every key, its default and why:\n{wrong}");
}

#[test]
fn the_reading_of_source_sees_paths_and_is_not_fooled_by_texts() {
    let text = r##"
// use crate::comment;
/* crate::block /* crate::nested */ crate::block */
use crate::{one::Two, three::{self, four as five}, six};
fn text<'a>(x: &'a str) -> char { "crate::string \" crate::still"; r#"crate::raw " crate::raw"#; '"'; '\''; b"x" }
fn code() { crate::seven::eight(); std::fs::read(); other::std::fs(); my_crate::no(); println!("{}", 1); println; }
"##;
    let source = Source { path: PathBuf::new(), module: String::new(), tokens: tokens(text) };
    let found: Vec<(usize, String)> =
        source.mentions(&["crate", "std"]).into_iter().map(|mention| (mention.line, mention.path)).collect();
    let expected = [
        (4, "crate::one::Two"),
        (4, "crate::three::self"),
        (4, "crate::three::four"),
        (4, "crate::six"),
        (6, "crate::seven::eight"),
        (6, "std::fs::read"),
    ];
    assert_eq!(found, expected.map(|(line, path)| (line, path.to_owned())));
    assert_eq!(source.macros(IMPURE_MACROS), [Mention { line: 6, path: "println!".to_owned() }]);
}

impl Source {
    /// A file of tests: it may be long, and a test may print and touch files.
    fn is_test(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
    }

    /// Every path that begins with one of these, groups taken apart.
    fn mentions(&self, roots: &[&str]) -> Vec<Mention> {
        let mut found = Vec::new();
        for (place, token) in self.tokens.iter().enumerate() {
            let follows_a_path =
                place > 0 && matches!(self.tokens[place - 1].text.as_str(), "::" | "." | "$");
            let leads_a_path = self.tokens.get(place + 1).is_some_and(|next| next.text == "::");
            if roots.contains(&token.text.as_str()) && leads_a_path && !follows_a_path {
                self.take_path_apart(place, "", &mut found);
            }
        }
        found
    }

    /// Reads the path or group at `place` and returns the place behind it.
    fn take_path_apart(&self, mut place: usize, before: &str, found: &mut Vec<Mention>) -> usize {
        let mut path = before.to_owned();
        while let Some(token) = self.tokens.get(place) {
            if token.text == "{" {
                place += 1;
                while self.tokens.get(place).is_some_and(|token| token.text != "}") {
                    let behind = self.take_path_apart(place, &path, found);
                    // What follows a name in a group, a comma or `as other`, begins no path.
                    let is_next = |token: &Token| token.text == "," || token.text == "}";
                    let rest = self.tokens[behind..].iter().position(is_next).unwrap_or(0);
                    place = behind + rest;
                    place += usize::from(self.tokens.get(place).is_some_and(|token| token.text == ","));
                }
                return place + 1;
            }
            path = if path.is_empty() { token.text.clone() } else { format!("{path}::{}", token.text) };
            place += 1;
            if self.tokens.get(place).is_some_and(|token| token.text == "::") {
                place += 1;
            } else {
                found.push(Mention { line: token.line, path });
                return place;
            }
        }
        place
    }

    /// Every call of one of these macros.
    fn macros(&self, names: &[&str]) -> Vec<Mention> {
        let calls = self.tokens.windows(2).filter(|pair| pair[1].text == "!");
        let named = calls.filter(|pair| names.contains(&pair[0].text.as_str()));
        named.map(|pair| Mention { line: pair[0].line, path: format!("{}!", pair[0].text) }).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under src/ but lib.rs, which only says what there is.
fn sources() -> Vec<Source> {
    let mut sources: Vec<Source> = files_below("src", "rs").iter().map(|path| source(path)).collect();
    sources.retain(|source| source.module != "lib");
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(sources.len() > 50, "src/ holds more than {} files", sources.len());
    sources
}

/// Every file below a folder of the package whose name ends so, but for what was built.
fn files_below(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is readable") {
            let path = entry.expect("the folder is readable").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                files.push(path);
            }
        }
    }
    files
}

fn source(path: &Path) -> Source {
    let text = fs::read_to_string(path).expect("source is UTF-8");
    let path = path.strip_prefix(root()).expect("it lies below the root").to_owned();
    let first = path.components().nth(1).expect("it lies below src");
    let module = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
    Source { path, module, tokens: tokens(&text) }
}

/// Names, `::` and single signs, without comments, texts, characters and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let is_name = |sign: char| sign.is_alphanumeric() || sign == '_';
        let length = skipped(rest).unwrap_or_else(|| {
            let name = rest.find(|sign| !is_name(sign)).unwrap_or(rest.len());
            let length = if rest.starts_with("::") { 2 } else { name.max(first.len_utf8()) };
            if !first.is_whitespace() {
                tokens.push(Token { line, text: rest[..length].to_owned() });
            }
            length
        });
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The length of the comment, text, character or lifetime that `rest` begins with.
fn skipped(rest: &str) -> Option<usize> {
    let end = |from: usize, sign: &str| rest[from..].find(sign).map_or(rest.len(), |place| from + place);
    let raw = rest.trim_start_matches('b').strip_prefix('r').map(|raw| raw.trim_start_matches('#'));
    if rest.starts_with("//") {
        Some(end(2, "\n"))
    } else if rest.starts_with("/*") {
        Some(block_comment(rest))
    } else if let Some(body) = raw
        && body.starts_with('"')
    {
        let start = rest.len() - body.len();
        let fence = format!("\"{}", "#".repeat(rest[..start].matches('#').count()));
        Some((end(start + 1, &fence) + fence.len()).min(rest.len()))
    } else if rest.starts_with('"') {
        Some(text_length(rest))
    } else if rest.starts_with("'\\") {
        Some((end(3, "'") + 1).min(rest.len()))
    } else if let Some(after) = rest.strip_prefix('\'') {
        let sign = after.chars().next().map_or(0, char::len_utf8);
        Some(if after[sign..].starts_with('\'') { sign + 2 } else { sign + 1 })
    } else {
        None
    }
}

/// Up to the quotation mark that no backslash precedes.
fn text_length(rest: &str) -> usize {
    let mut is_escaped = false;
    for (place, sign) in rest.char_indices().skip(1) {
        if sign == '"' && !is_escaped {
            return place + 1;
        }
        is_escaped = sign == '\\' && !is_escaped;
    }
    rest.len()
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut place) = (0_usize, 0);
    while place < rest.len() {
        let here = &rest[place..];
        if here.starts_with("/*") {
            depth += 1;
            place += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            place += 2;
            if depth == 0 {
                return place;
            }
        } else {
            place += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The words of a row, `pure` and `leaves` spelled out.
fn expand(row: &'static str) -> impl Iterator<Item = &'static str> {
    row.split_whitespace().flat_map(|word| {
        let words = match word {
            "pure" => PURE,
            "leaves" => LEAVES,
            one => one,
        };
        words.split_whitespace()
    })
}

fn lies_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_impure(path: &str) -> bool {
    IMPURE_PATHS.iter().any(|impure| lies_below(path, impure)) && !PURE_AFTER_ALL.contains(&path)
}

enum Reason {
    Given,
    Missing,
}

/// The keys and tables that a reference file shows, also those in comments (`# key = value`, `# [table]`), with their lines and whether a
/// sentence stands beside or right above them.
fn documented_keys(text: &str) -> Vec<(String, usize, Reason)> {
    let (mut found, mut table, mut above) = (Vec::new(), String::new(), false);
    for (place, line) in text.lines().enumerate() {
        let shown = line.strip_prefix("# ").unwrap_or(line);
        let is_beside = shown.split_once(" # ").is_some_and(|(_, words)| !words.trim().is_empty());
        let reason = if is_beside || above { Reason::Given } else { Reason::Missing };
        let key = shown.split_once(" = ").map(|(key, _)| key).filter(|key| !key.contains(' '));
        if shown.starts_with('[') {
            table = shown.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
            // What a table is for is said by its keys.
            found.push((table.clone(), place + 1, Reason::Given));
        } else if let Some(key) = key {
            let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
            found.push((path, place + 1, reason));
        }
        above = line.starts_with('#');
    }
    found
}
