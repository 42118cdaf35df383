//! The language of composite alarms: states of other alarms with `AND`, `OR`, `NOT` and parentheses
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html>).
//!
//! Alarms are named by their name or ARN, with or without quotes. `NOT` binds closer than `AND`, and that closer than `OR`.

use std::collections::BTreeSet;

use crate::alarm::AlarmState;

/// How deep parentheses may go: what is deeper no person has written.
const DEEPEST: usize = 64;

/// How many states a rule may look at: AWS's own bound on a rule's elements is of this size.
const MOST_TERMS: usize = 500;

/// A rule that makes sense.
#[derive(Clone, PartialEq, Debug)]
pub struct CompositeRule(Node);

/// Why a text is no rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("AlarmRule: {0}")]
pub struct RuleError(String);

#[derive(Clone, PartialEq, Debug)]
enum Node {
    State(AlarmState, String),
    Always(bool),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

struct Reader<'a> {
    rest: &'a str,
    whole: usize,
    depth: usize,
    terms: usize,
}

impl CompositeRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// When it is none, with where it stops to be one.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut reader = Reader { rest: text, whole: text.len(), depth: 0, terms: 0 };
        let node = reader.any()?;
        reader.skip();
        if reader.rest.is_empty() { Ok(Self(node)) } else { Err(reader.wrong("AND, OR or the end")) }
    }

    /// The names of the alarms that it looks at.
    pub fn children(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.0.names(&mut names);
        names
    }

    /// Whether it holds. An alarm that is gone is in no state.
    pub fn holds(&self, state: &impl Fn(&str) -> Option<AlarmState>) -> bool {
        self.0.holds(state)
    }
}

impl Node {
    fn names<'a>(&'a self, names: &mut BTreeSet<&'a str>) {
        match self {
            Self::State(_, name) => drop(names.insert(name)),
            Self::Always(_) => {}
            Self::Not(inner) => inner.names(names),
            Self::All(all) | Self::Any(all) => all.iter().for_each(|node| node.names(names)),
        }
    }

    fn holds(&self, state: &impl Fn(&str) -> Option<AlarmState>) -> bool {
        match self {
            Self::State(wanted, name) => state(name) == Some(*wanted),
            Self::Always(always) => *always,
            Self::Not(inner) => !inner.holds(state),
            Self::All(all) => all.iter().all(|node| node.holds(state)),
            Self::Any(any) => any.iter().any(|node| node.holds(state)),
        }
    }
}

impl Reader<'_> {
    fn any(&mut self) -> Result<Node, RuleError> {
        let mut nodes = vec![self.all()?];
        while self.word("OR") {
            nodes.push(self.all()?);
        }
        Ok(single(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, RuleError> {
        let mut nodes = vec![self.one()?];
        while self.word("AND") {
            nodes.push(self.one()?);
        }
        Ok(single(nodes, Node::All))
    }

    fn one(&mut self) -> Result<Node, RuleError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(RuleError(format!("it is nested more than {DEEPEST} deep")));
        }
        let node = self.one_within();
        self.depth -= 1;
        node
    }

    fn one_within(&mut self) -> Result<Node, RuleError> {
        if self.word("NOT") {
            return Ok(Node::Not(Box::new(self.one()?)));
        }
        for (word, always) in [("TRUE", true), ("FALSE", false)] {
            if self.word(word) {
                return Ok(Node::Always(always));
            }
        }
        let states = [
            ("INSUFFICIENT_DATA", AlarmState::InsufficientData),
            ("ALARM", AlarmState::Alarm),
            ("OK", AlarmState::Ok),
        ];
        for (word, state) in states {
            if self.word(word) {
                self.terms += 1;
                if self.terms > MOST_TERMS {
                    return Err(RuleError(format!("it looks at more than {MOST_TERMS} states")));
                }
                return Ok(Node::State(state, self.name()?));
            }
        }
        if !self.sign('(') {
            return Err(self.wrong("ALARM(, OK(, INSUFFICIENT_DATA(, NOT, TRUE, FALSE or ("));
        }
        let node = self.any()?;
        if self.sign(')') { Ok(node) } else { Err(self.wrong("AND, OR or )")) }
    }

    /// In parentheses. In quotes it may have any sign but these.
    fn name(&mut self) -> Result<String, RuleError> {
        if !self.sign('(') {
            return Err(self.wrong("( and an alarm's name"));
        }
        self.skip();
        let quote = self.rest.chars().next().filter(|sign| matches!(sign, '"' | '\''));
        let name = match quote {
            Some(quote) => {
                let inner = self.rest.get(1..).unwrap_or_default();
                let Some((name, rest)) = inner.split_once(quote) else {
                    return Err(self.wrong("an alarm's name in quotes"));
                };
                self.rest = rest;
                name.to_owned()
            }
            None => {
                let end = self.rest.find([')', '(']).unwrap_or(self.rest.len());
                let (name, rest) = self.rest.split_at(end);
                self.rest = rest;
                name.trim().to_owned()
            }
        };
        if name.is_empty() {
            return Err(self.wrong("an alarm's name"));
        }
        if !self.sign(')') {
            return Err(self.wrong(") after the alarm's name"));
        }
        // Of an ARN the name is what is last.
        let name = name.split_once(":alarm:").map_or(name.as_str(), |(_, name)| name);
        Ok(name.to_owned())
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn sign(&mut self, sign: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, word: &str) -> bool {
        self.skip();
        let Some((head, rest)) = self.rest.split_at_checked(word.len()) else { return false };
        let ends = !rest.starts_with(|sign: char| sign.is_alphanumeric() || sign == '_');
        if head.eq_ignore_ascii_case(word) && ends {
            self.rest = rest;
            return true;
        }
        false
    }

    fn wrong(&self, wanted: &str) -> RuleError {
        let at = self.whole - self.rest.len();
        let found: String = self.rest.chars().take(20).collect();
        RuleError(if found.is_empty() {
            format!("it ends where {wanted} is expected")
        } else {
            format!("at character {at}, {wanted} is expected, not {found:?}")
        })
    }
}

fn single(mut nodes: Vec<Node>, several: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(node) if nodes.is_empty() => node,
        Some(node) => {
            nodes.push(node);
            several(nodes)
        }
        None => Node::Always(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(rule: &str) -> bool {
        let rule = CompositeRule::parse(rule).unwrap();
        rule.holds(&|name: &str| match name {
            "up" => Some(AlarmState::Ok),
            "down" | "a (b)" => Some(AlarmState::Alarm),
            "dark" => Some(AlarmState::InsufficientData),
            _ => None,
        })
    }

    #[test]
    fn states_are_combined_as_the_guide_says() {
        for (rule, expected) in [
            ("ALARM(down)", true),
            ("alarm(\"down\") and OK('up')", true),
            ("ALARM(up) OR INSUFFICIENT_DATA(dark)", true),
            ("NOT ALARM(down)", false),
            ("NOT NOT ALARM(down)", true),
            ("ALARM(down) OR ALARM(up) AND ALARM(up)", true),
            ("(ALARM(down) OR ALARM(up)) AND ALARM(up)", false),
            ("ALARM(\"a (b)\") AND TRUE", true),
            ("ALARM(arn:aws:cloudwatch:us-east-1:000000000000:alarm:down)", true),
            ("OK(gone) OR ALARM(gone) OR INSUFFICIENT_DATA(gone)", false),
            ("FALSE", false),
        ] {
            assert_eq!(holds(rule), expected, "{rule}");
        }
        let rule = CompositeRule::parse("ALARM(a) AND (OK(b) OR NOT ALARM(a))").unwrap();
        assert_eq!(rule.children().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_is_no_rule_is_told_where_it_stops_to_be_one() {
        for (rule, said) in [
            ("", "it ends where ALARM("),
            ("ALARM(a) XOR OK(b)", "at character 9, AND, OR or the end is expected, not \"XOR OK(b)\""),
            ("ALARM()", "an alarm's name is expected"),
            ("ALARM(a", "it ends where ) after the alarm's name"),
            ("ALARM(\"a", "in quotes"),
            ("ALARMS(a)", "ALARM(, OK("),
            ("(OK(a)", "AND, OR or )"),
        ] {
            let error = CompositeRule::parse(rule).unwrap_err().to_string();
            assert!(error.contains(said), "{rule}: {error}");
        }
        let deep = "(".repeat(5_000);
        assert!(CompositeRule::parse(&deep).unwrap_err().to_string().contains("nested"));
        let nots = "NOT ".repeat(2_500);
        assert!(CompositeRule::parse(&nots).unwrap_err().to_string().contains("nested"));
        let long = vec!["OK(a)"; 501].join(" OR ");
        assert!(CompositeRule::parse(&long).unwrap_err().to_string().contains("500 states"));
    }
}
