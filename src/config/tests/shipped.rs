//! The files under `config/`: they load, say what they mean, and mention every key.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    config::{HealthSpec, PlanSpec, known_keys, known_plan_keys, load, parse},
    route::Balance,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

fn text(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap()
}

fn plan(file: &str) -> PlanSpec {
    PlanSpec::from_toml(&text(file), file).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Every TOML file below the folder.
fn toml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            toml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn every_shipped_file_loads() {
    let mut files = Vec::new();
    toml_files(&folder(), &mut files);
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let problems = if file.file_name().is_some_and(|name| name == "snapback.toml") {
            load(&file).err()
        } else {
            PlanSpec::from_toml(&std::fs::read_to_string(&file).unwrap(), &file.display().to_string()).err()
        };
        assert!(problems.is_none(), "{}", problems.unwrap());
    }
}

#[test]
fn the_reference_file_shows_the_defaults() {
    let shown = load(&folder().join("snapback.toml")).unwrap();
    let default = parse("", "c.toml").unwrap();
    assert!(default.restart_needed(&shown).is_empty(), "{:?}", default.restart_needed(&shown));
    assert_eq!(shown.endpoints[0].health, HealthSpec::default());
    assert_eq!(shown.endpoints[0].limits, crate::route::Limits::default());
    assert_eq!(shown.endpoints[0].rescue, crate::route::RescuePolicy::default());
    assert_eq!(shown.endpoints[0].protection, crate::route::Protection::default());
    assert_eq!(shown.endpoints[0].sticky, None);
    assert_eq!(shown.endpoints[0].rule, crate::route::MatchRule::default());
}

#[test]
fn the_reference_plan_shows_the_defaults() {
    let shown = plan("plan.toml");
    assert_eq!(*shown.shift.limits(), crate::shift::ShiftLimits::default());
    let default = crate::alarm::AlarmPlan::default();
    assert_eq!(
        (shown.alarms.false_alarm, shown.alarms.max_failures),
        (default.false_alarm, default.max_failures)
    );
}

/// A text without the keys of providers of the other type.
fn of_processes(text: &str) -> String {
    let commands = ["provision = ", "list = ", "retire = ", "timeout = \"5m\"", "refresh = "];
    let names = ["name = \"models.internal\"", "port = ", "resolvers = ", "ttl_floor = ", "ttl_ceiling = "];
    let others = commands.iter().chain(&names).collect::<Vec<_>>();
    let lines = text.lines().filter(|line| !others.iter().any(|other| line.starts_with(**other)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A text without the table under a header.
fn without(text: &str, header: &str) -> String {
    let (before, after) = text.split_once(header).unwrap();
    let (_, rest) = after.split_once("\n\n").unwrap();
    format!("{before}\n{rest}")
}

/// A text without the tables of variants of a fleet.
fn without_variants(text: &str, fleet: &str) -> String {
    let bare = without(text, &format!("[[{fleet}.variants]]"));
    without(&bare, &format!("[[{fleet}.variants.instances]]"))
}

#[test]
fn what_the_reference_files_show_in_comments_is_right_too() {
    // A comment that is an example begins `# key =` or `# [`; the sentences around it do not.
    let uncommented = |text: &str| {
        let example = |line: &str| {
            let rest = line.strip_prefix("# ").filter(|rest| {
                let first = rest.split(' ').next().unwrap_or_default();
                rest.starts_with('[') || rest[first.len()..].starts_with(" = ")
            });
            rest.unwrap_or(line).to_owned()
        };
        text.lines().map(example).collect::<Vec<_>>().join("\n")
    };
    // A key is in a header, in a cookie or in the prompt, a check asks for a path or for a service, an error body has a field or a text,
    // a secret is in a file or in a variable, a certificate is known by a name, a URI or as a whole, and instances are in a list, in tables, in variants or a provider's; the file shows all of them.
    let mut shown = uncommented(&text("snapback.toml"));
    for key in [
        "\ncookie = ",
        "\nprompt_prefix = ",
        "\ngrpc = ",
        "\ninstances = ",
        "\ncontains = ",
        "\nsecret_env = ",
        "\nuri = ",
        "\nsha256 = ",
    ] {
        shown = shown.replace(key, &key.replace('\n', "\n# "));
    }
    let listed = of_processes(&without(&shown, "[endpoint.blue.provider]"));
    let varied = parse(&without(&listed, "[[endpoint.blue.instances]]"), "snapback.toml").unwrap();
    assert!(varied.endpoints[0].variant_header.is_some());
    assert_eq!(varied.endpoints[0].blue.variants.len(), 1);
    let shown =
        without_variants(&shown, "endpoint.blue").replace("\nvariant_header = ", "\n# variant_header = ");
    let provided = without(&of_processes(&shown), "[[endpoint.blue.instances]]");
    let provided = parse(&provided, "snapback.toml").unwrap();
    assert!(provided.endpoints[0].blue.provider.is_some());
    let named = of_processes(&without(&shown, "[endpoint.blue.provider]"));
    let config = parse(&named, "snapback.toml").unwrap();
    assert_eq!((config.aws.keys.len(), config.aws.fleets.len()), (1, 1));
    assert!(config.endpoints[0].sticky.is_some() && config.endpoints[0].balance != Balance::default());
    assert!(config.endpoints[0].rule.header.is_some() && config.endpoints[0].health != HealthSpec::default());
    let steps = uncommented(&text("plan.toml"))
        .replace("type = \"canary\"", "type = \"steps\"")
        .replace("\ninstances = ", "\n# instances = ")
        .lines()
        .filter(|line| {
            let others = [
                "share = \"5%\"",
                "bake = \"2m\"",
                "step = ",
                "batch = ",
                "rollback_batch = ",
                "time = ",
                "at_least = ",
                "below = \"300ms\"",
                "at_most = ",
                "below = 0.2",
                "token_env = ",
                "variant = ",
            ];
            !others.iter().any(|gone| line.starts_with(gone))
        })
        .collect::<Vec<_>>()
        .join("\n");
    let plan = |text: String| {
        PlanSpec::from_toml(&text, "plan.toml").unwrap_or_else(|problems| panic!("{problems}\n{text}"))
    };
    let varied = plan(without(&without(&steps, "[green.provider]"), "[[green.instances]]"));
    assert_eq!(varied.green.variants.len(), 1);
    let steps = without_variants(&steps, "green");
    assert!(plan(without(&of_processes(&steps), "[[green.instances]]")).green.provider.is_some());
    let plan = plan(without(&steps, "[green.provider]"));
    assert_eq!(plan.shift.steps().len(), 2);
    assert_eq!(plan.alarms.max_failures, Some(50));
}

#[test]
fn the_reference_files_mention_every_key() {
    for (file, known) in [("snapback.toml", known_keys()), ("plan.toml", known_plan_keys())] {
        let (mut table, mut mentioned) = (String::new(), BTreeSet::new());
        for line in text(file).lines() {
            let line = line.strip_prefix("# ").unwrap_or(line);
            if line.starts_with('[') {
                table = line.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
                mentioned.insert(table.clone());
            } else if let Some((key, _)) = line.split_once(" = ") {
                mentioned.insert(if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") });
            }
        }
        let missing: Vec<_> = known.iter().filter(|key| !mentioned.contains(*key)).collect();
        assert!(missing.is_empty(), "config/{file} does not mention {missing:?}");
    }
}
