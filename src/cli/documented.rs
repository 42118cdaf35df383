//! Commands that the longer texts tell readers to type exist.

use std::{fs, path::PathBuf};

use clap::{Command, CommandFactory as _};

use super::Args;

/// The README and every page of `src/docs`, with their names.
fn pages() -> Vec<(PathBuf, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("src/docs")).unwrap().map(|entry| entry.unwrap().path());
    docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain([root.join("README.md")])
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// What follows `snapback ` in code: at the beginning of lines, which prose begins with a capital, and between backticks.
fn commands(page: &str) -> Vec<&str> {
    let lines = page.lines().filter_map(|line| line.trim_start().strip_prefix("snapback "));
    let inline = page.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("snapback "));
    lines.chain(inline).collect()
}

/// Why these words are no command of the grammar, if so.
fn flaw(grammar: &Command, words: &str) -> Option<String> {
    let mut at = grammar;
    let mut words = words.split_whitespace().peekable();
    while at.has_subcommands() {
        let word = words.next_if(|word| !word.starts_with('-'))?;
        match at.find_subcommand(word) {
            Some(found) => at = found,
            None => return Some(format!("'{}' has no command '{word}'", at.get_name())),
        }
    }
    let unknown = words.filter_map(|word| word.strip_prefix("--")).find(|flag| {
        let name = flag.split(['=', '`']).next().unwrap_or_default();
        !name.is_empty()
            && name != "help"
            && at.get_arguments().all(|argument| argument.get_long() != Some(name))
    })?;
    Some(format!("'{}' has no option '--{unknown}'", at.get_name()))
}

#[test]
fn every_command_that_the_pages_name_exists() {
    let mut grammar = Args::command();
    grammar.build();
    let flaws: Vec<String> = pages()
        .iter()
        .flat_map(|(path, text)| commands(text).into_iter().map(move |words| (path, words)))
        .filter_map(|(path, words)| {
            flaw(&grammar, words).map(|flaw| format!("{}: `{words}`: {flaw}", path.display()))
        })
        .collect();
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[test]
fn a_page_that_names_a_command_or_an_option_that_is_not_there_is_found() {
    let mut grammar = Args::command();
    grammar.build();
    let page = "    snapback shift watch chat\n\nand `snapback shift wach chat`, `snapback serve --fast`.\n";
    let flaws: Vec<String> = commands(page).into_iter().filter_map(|words| flaw(&grammar, words)).collect();
    assert_eq!(flaws, ["'shift' has no command 'wach'", "'serve' has no option '--fast'"]);
}
