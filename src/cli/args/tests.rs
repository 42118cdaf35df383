//! The grammar as a whole.

use clap::{CommandFactory, Parser as _};

use super::{Args, Command};

fn parse(line: &str) -> Result<Command, clap::Error> {
    Args::try_parse_from(line.split(' ')).map(|args| args.command)
}

#[test]
fn the_grammar_holds_together() {
    Args::command().debug_assert();
}

#[test]
fn every_command_of_the_design_is_understood() {
    for line in [
        "snapback serve -c snapback.toml",
        "snapback check -c snapback.toml --plan plan.toml",
        "snapback check --plan plan.toml",
        "snapback demo --json --stay --seed 7 --data 127.0.0.1:0 --admin-listen [::1]:0",
        "snapback endpoint list",
        "snapback endpoint show chat --output json",
        "snapback shift start chat plan.toml --dry-run",
        "snapback shift start chat plan.toml --watch",
        "snapback shift start chat plan.toml --wait --timeout 1h30m --reason v2",
        "snapback shift status chat-1 --wait --timeout 30s --admin http://[::1]:9",
        "snapback shift watch chat",
        "snapback shift watch chat --admin https://proxy --ca ca.pem --cert me.pem --key me.key",
        "snapback shift pause chat",
        "snapback shift resume chat --reason checked",
        "snapback shift promote chat",
        "snapback shift promote chat --bake --reason quiet",
        "snapback shift abort chat --reason odd",
        "snapback shift explain chat",
        "snapback shift list",
        "snapback shift list chat --only queued --limit 3",
        "snapback plan lint chat plan.toml --output json",
        "snapback plan lint chat plan.toml --traffic 20/s --offline",
        "snapback plan replay plan.toml --endpoint chat --output json",
        "snapback plan replay plan.toml --recording a.ndjson --green-from b.ndjson --seed 3",
        "snapback plan replay plan.toml --recording a.ndjson --aa --splits 200",
        "snapback recording export chat",
        "snapback events --follow --after 3 --endpoint chat",
        "snapback alarm set quality insufficient_data --reason waiting",
        "snapback freeze chat --reason incident",
        "snapback freeze",
        "snapback unfreeze chat",
        "snapback reload --dry-run --reason moved",
        "snapback webhook list",
        "snapback webhook retry ops --reason mended",
        "snapback audit list --after 7 --endpoint chat",
        "snapback audit verify --file events.jsonl",
        "snapback journal backup monday.db",
        "snapback serve",
        "snapback init --blue 127.0.0.1:1,127.0.0.1:2 --green gpu:3 --health /health",
        "snapback top",
        "snapback apply endpoints --dry-run --detailed-exitcode",
        "snapback apply endpoints --yes --wait --timeout 2h --prune --retry --reason x",
        "snapback completions fish",
        "snapback man --dir man1",
        "snapback token new --name ci --role operator --expires 2027-01-31",
        "snapback model-server --version v1 --listen 127.0.0.1:0",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn a_wrong_command_line_exits_with_2_and_says_what_is_wrong() {
    for (line, says) in [
        ("snapback shift status chat --timeout 30s", "--wait"),
        ("snapback shift status chat --wait --timeout 30", "whole number and a unit"),
        ("snapback shift status a/b", "is not a shift id"),
        ("snapback shift start chat plan.toml --dry-run --wait", "cannot be used with"),
        ("snapback endpoint show -a", "unexpected argument"),
        ("snapback endpoint list --admin ftp://x", "http://HOST:PORT"),
        ("snapback endpoint list --admin https://x --cert me.pem", "--key"),
        ("snapback alarm set quality OK", "ok, alarm or insufficient_data"),
        ("snapback alarm set a/b ok", "is not an alarm's name"),
        ("snapback plan lint chat plan.toml --traffic 20", "is not a rate of requests"),
        ("snapback plan lint chat", "PLAN"),
        ("snapback plan replay plan.toml", "--recording"),
        ("snapback plan replay plan.toml --endpoint chat --splits 3", "--aa"),
        ("snapback plan replay plan.toml --endpoint chat --recording a.ndjson", "cannot be used with"),
        ("snapback endpoint list --token-file /nonexistent/token", "No such file"),
        ("snapback token new --name ci --role root", "viewer, operator or admin"),
        ("snapback token new --name ci --role viewer --expires soon", "is not a day"),
        ("snapback check", "--config"),
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(says), "{line}: {error}");
    }
}

#[test]
fn the_demos_model_server_is_not_offered() {
    assert!(!Args::command().render_long_help().to_string().contains("model-server"));
}

/// The words of a command line as a shell would read it; a pipe or a redirection ends it, and so does what is said about it after two spaces.
fn words(line: &str) -> Vec<String> {
    let line = line.split("   ").next().unwrap_or_default();
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for character in line.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            '|' | '>' if !is_quoted => break,
            ' ' if !is_quoted => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            _ => word.push(character),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Every command that has no commands of its own and is offered, with the path to it.
fn leaves(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
    let path = format!("{path} {}", command.get_name());
    if !command.has_subcommands() {
        return vec![(path, command.clone())];
    }
    let offered = command.get_subcommands().filter(|command| !command.is_hide_set());
    offered.flat_map(|command| leaves(command, &path)).collect()
}

#[test]
fn every_commands_help_ends_with_examples_that_the_grammar_understands() {
    for (path, command) in leaves(&Args::command(), "") {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<_> =
            help.lines().map(str::trim).filter(|line| line.starts_with("snapback ")).collect();
        let own = examples.iter().any(|example| format!(" {example}").starts_with(&path));
        assert!(own, "{path} has no example: {help}");
        for example in examples {
            let parsed = Args::try_parse_from(words(example));
            assert!(parsed.is_ok(), "{path}: {example}: {}", parsed.unwrap_err());
        }
    }
}
