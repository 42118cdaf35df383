//! Metric math: arithmetic over metrics of one period
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>).
//!
//! What alarms on rates and ratios need is here: `+ - * / ^`, comparisons, `AND`, `OR`, and the functions of [`Function`]. `SEARCH`, anomaly
//! bands, and what makes several series of one are refused by name.

use std::collections::BTreeSet;

/// How deep parentheses may go.
const DEEPEST: usize = 32;

/// How many parts an expression may have.
const MOST_PARTS: usize = 500;

/// An expression that makes sense.
#[derive(Clone, PartialEq, Debug)]
pub struct Math(Node);

/// Why a text is no expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Error in expression: {0}")]
pub struct MathError(String);

/// Values of spans in their order, or one for all of them.
#[derive(Clone, PartialEq, Debug)]
enum Values {
    One(f64),
    Each(Vec<Option<f64>>),
    /// As arguments of functions that take several.
    List(Vec<Values>),
}

#[derive(Clone, PartialEq, Debug)]
enum Node {
    Number(f64),
    Id(String),
    Negated(Box<Node>),
    Of(Operator, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
    List(Vec<Node>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Or,
    And,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    Plus,
    Minus,
    Times,
    Over,
    Power,
}

/// The functions that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Function {
    Abs,
    Ceil,
    Floor,
    Sum,
    Avg,
    Min,
    Max,
    Fill,
    If,
    Rate,
    Diff,
    Period,
}

const FUNCTIONS: [(&str, Function); 12] = [
    ("ABS", Function::Abs),
    ("CEIL", Function::Ceil),
    ("FLOOR", Function::Floor),
    ("SUM", Function::Sum),
    ("AVG", Function::Avg),
    ("MIN", Function::Min),
    ("MAX", Function::Max),
    ("FILL", Function::Fill),
    ("IF", Function::If),
    ("RATE", Function::Rate),
    ("DIFF", Function::Diff),
    ("PERIOD", Function::Period),
];

/// From what binds least to what binds most. The longer signs come first, so that they are not taken for shorter ones.
const OPERATORS: [&[(&str, Operator)]; 5] = [
    &[("||", Operator::Or), ("OR", Operator::Or)],
    &[("&&", Operator::And), ("AND", Operator::And)],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
    &[("*", Operator::Times), ("/", Operator::Over)],
];

impl Math {
    /// Reads an expression.
    ///
    /// # Errors
    /// When it is none, or asks for what is not here.
    pub fn parse(text: &str) -> Result<Self, MathError> {
        let mut reader = Reader { rest: text, depth: 0, parts: 0 };
        let node = reader.level(0)?;
        reader.skip();
        if reader.rest.is_empty() { Ok(Self(node)) } else { Err(reader.wrong("an operator or the end")) }
    }

    /// The metrics and expressions that it names.
    pub fn ids(&self) -> BTreeSet<&str> {
        let mut ids = BTreeSet::new();
        self.0.ids(&mut ids);
        ids
    }

    /// Its values over `count` spans of `period` seconds, where `of` knows those of each id.
    ///
    /// # Errors
    /// When a function gets what it has no use for.
    pub fn values(
        &self,
        (period, count): (i64, usize),
        of: &impl Fn(&str) -> Option<Vec<Option<f64>>>,
    ) -> Result<Vec<Option<f64>>, MathError> {
        let scene = Scene { period, count, of };
        let values = scene.values(&self.0)?;
        (0..count).map(|index| Ok(values.at(index)?.filter(|value| value.is_finite()))).collect()
    }
}

impl Node {
    fn ids<'a>(&'a self, ids: &mut BTreeSet<&'a str>) {
        match self {
            Self::Number(_) => {}
            Self::Id(id) => drop(ids.insert(id)),
            Self::Negated(inner) => inner.ids(ids),
            Self::Of(_, left, right) => [left, right].into_iter().for_each(|node| node.ids(ids)),
            Self::Call(_, nodes) | Self::List(nodes) => nodes.iter().for_each(|node| node.ids(ids)),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
    parts: usize,
}

impl<'a> Reader<'a> {
    fn level(&mut self, level: usize) -> Result<Node, MathError> {
        let Some(operators) = OPERATORS.get(level) else { return self.power() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            let right = self.level(level + 1)?;
            left = Node::Of(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn power(&mut self) -> Result<Node, MathError> {
        let base = self.one()?;
        if !self.sign('^') {
            return Ok(base);
        }
        let exponent = self.one()?;
        Ok(Node::Of(Operator::Power, Box::new(base), Box::new(exponent)))
    }

    fn one(&mut self) -> Result<Node, MathError> {
        self.depth += 1;
        self.parts += 1;
        if self.depth > DEEPEST || self.parts > MOST_PARTS {
            let message =
                format!("it has more than {MOST_PARTS} parts, or is nested more than {DEEPEST} deep");
            return Err(MathError(message));
        }
        let node = self.one_within();
        self.depth -= 1;
        node
    }

    fn one_within(&mut self) -> Result<Node, MathError> {
        if self.sign('-') {
            return Ok(Node::Negated(Box::new(self.one()?)));
        }
        if self.sign('(') {
            let inner = self.level(0)?;
            return if self.sign(')') { Ok(inner) } else { Err(self.wrong("an operator or )")) };
        }
        if self.sign('[') {
            return Ok(Node::List(self.arguments(']')?));
        }
        let word = self.take(|sign| sign.is_ascii_alphanumeric() || sign == '_' || sign == '.');
        if word.is_empty() {
            return Err(self.wrong("a number, an id or a function"));
        }
        if word.starts_with(|sign: char| sign.is_ascii_digit() || sign == '.') {
            let number = word.parse().map_err(|_| MathError(format!("{word} is no number")))?;
            return Ok(Node::Number(number));
        }
        if self.sign('(') {
            let arguments = self.arguments(')')?;
            let known = FUNCTIONS.iter().find(|(name, _)| *name == word);
            let Some((_, function)) = known else {
                let names: Vec<_> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
                return Err(MathError(format!(
                    "there is no function {word} here; there are {}",
                    names.join(", ")
                )));
            };
            function.check(word, arguments.len())?;
            return Ok(Node::Call(*function, arguments));
        }
        Ok(Node::Id(word.to_owned()))
    }

    fn arguments(&mut self, end: char) -> Result<Vec<Node>, MathError> {
        let mut arguments = Vec::new();
        if self.sign(end) {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.level(0)?);
            if self.sign(end) {
                return Ok(arguments);
            }
            if !self.sign(',') {
                return Err(self.wrong(&format!(", or {end}")));
            }
        }
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        self.skip();
        let (operator, rest) = operators.iter().find_map(|(sign, operator)| {
            let rest = self.rest.strip_prefix(sign)?;
            let is_word = sign.starts_with(|sign: char| sign.is_ascii_alphabetic());
            let goes_on = rest.starts_with(|sign: char| sign.is_ascii_alphanumeric() || sign == '_');
            (!(is_word && goes_on)).then_some((*operator, rest))
        })?;
        self.rest = rest;
        Some(operator)
    }

    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        self.skip();
        let end = self.rest.find(|sign: char| !fits(sign)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn sign(&mut self, sign: char) -> bool {
        self.skip();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn wrong(&self, wanted: &str) -> MathError {
        let found: String = self.rest.chars().take(20).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("{found:?}") };
        MathError(format!("{wanted} is expected, not {found}"))
    }
}

struct Scene<'a, Of> {
    period: i64,
    count: usize,
    of: &'a Of,
}

impl<Of: Fn(&str) -> Option<Vec<Option<f64>>>> Scene<'_, Of> {
    fn values(&self, node: &Node) -> Result<Values, MathError> {
        match node {
            Node::Number(number) => Ok(Values::One(*number)),
            Node::Id(id) => match (self.of)(id) {
                Some(values) => Ok(Values::Each(values)),
                // The word that FILL takes is no metric's.
                None => Err(MathError(format!("there is no metric or expression {id}"))),
            },
            Node::Negated(inner) => self.each(&[self.values(inner)?], |values| Some(-first(values))),
            Node::Of(operator, left, right) => {
                let both = [self.values(left)?, self.values(right)?];
                self.each(&both, |values| Some(operator.of(first(values), second(values))))
            }
            Node::List(nodes) => {
                Ok(Values::List(nodes.iter().map(|node| self.values(node)).collect::<Result<_, _>>()?))
            }
            Node::Call(Function::Fill, nodes) => self.filled(nodes),
            Node::Call(function, nodes) => {
                let values: Vec<_> = nodes.iter().map(|node| self.values(node)).collect::<Result<_, _>>()?;
                self.call(*function, &values)
            }
        }
    }

    fn call(&self, function: Function, values: &[Values]) -> Result<Values, MathError> {
        match function {
            Function::Abs => self.each(values, |values| Some(first(values).abs())),
            Function::Ceil => self.each(values, |values| Some(first(values).ceil())),
            Function::Floor => self.each(values, |values| Some(first(values).floor())),
            Function::Sum | Function::Avg | Function::Min | Function::Max => self.over(function, values),
            Function::If => self.chosen(values),
            Function::Rate | Function::Diff => self.changes(function, values),
            Function::Period => Ok(Values::One(self.period as f64)),
            Function::Fill => Err(MathError("FILL takes a metric and a number or REPEAT".to_owned())),
        }
    }

    /// Span by span; a span in which one is missing has no value.
    fn each(&self, values: &[Values], of: impl Fn(&[f64]) -> Option<f64>) -> Result<Values, MathError> {
        if let Some(constants) = values.iter().map(Values::constant).collect::<Option<Vec<f64>>>() {
            return Ok(of(&constants).map_or(Values::Each(vec![None; self.count]), Values::One));
        }
        let spans = (0..self.count).map(|index| {
            let here: Result<Option<Vec<f64>>, _> = values.iter().map(|values| values.at(index)).collect();
            Ok(here?.and_then(|here| of(&here)))
        });
        Ok(Values::Each(spans.collect::<Result<_, MathError>>()?))
    }

    /// Over the metrics of a list, span by span, passing over those that have none; of one metric over its spans.
    fn over(&self, function: Function, values: &[Values]) -> Result<Values, MathError> {
        let made = |all: &[f64]| {
            let sum = || all.iter().sum::<f64>();
            (!all.is_empty()).then(|| match function {
                Function::Avg => sum() / all.len() as f64,
                Function::Min => all.iter().copied().fold(f64::INFINITY, f64::min),
                Function::Max => all.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Function::Sum
                | Function::Abs
                | Function::Ceil
                | Function::Floor
                | Function::Fill
                | Function::If
                | Function::Rate
                | Function::Diff
                | Function::Period => sum(),
            })
        };
        let list = match values {
            [Values::List(list)] => list.as_slice(),
            [Values::Each(spans)] => {
                let all: Vec<f64> = spans.iter().flatten().copied().collect();
                return Ok(made(&all).map_or(Values::Each(vec![None; self.count]), Values::One));
            }
            several => several,
        };
        let spans = (0..self.count).map(|index| {
            let here = list.iter().map(|values| values.at(index));
            let here: Vec<f64> = here.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
            Ok(made(&here))
        });
        Ok(Values::Each(spans.collect::<Result<_, MathError>>()?))
    }

    /// The third may be missing: then there is no value where the first is 0.
    fn chosen(&self, values: &[Values]) -> Result<Values, MathError> {
        let spans = (0..self.count).map(|index| {
            let at = |place: usize| values.get(place).map_or(Ok(None), |values| values.at(index));
            Ok(match at(0)? {
                Some(condition) if condition != 0.0 => at(1)?,
                Some(_) => at(2)?,
                None => None,
            })
        });
        Ok(Values::Each(spans.collect::<Result<_, MathError>>()?))
    }

    /// From one span that has a value to the next that has one.
    fn changes(&self, function: Function, values: &[Values]) -> Result<Values, MathError> {
        let mut before: Option<(usize, f64)> = None;
        let mut spans = Vec::with_capacity(self.count);
        for index in 0..self.count {
            let now = values.first().map_or(Ok(None), |values| values.at(index))?;
            let change = before.zip(now).map(|((then, before), now)| {
                let seconds = (index - then) as f64 * self.period as f64;
                if function == Function::Rate { (now - before) / seconds } else { now - before }
            });
            before = now.map(|now| (index, now)).or(before);
            spans.push(change);
        }
        Ok(Values::Each(spans))
    }

    fn filled(&self, nodes: &[Node]) -> Result<Values, MathError> {
        let [metric, filler] = nodes else { return self.call(Function::Fill, &[]) };
        let values = self.values(metric)?;
        let repeats = matches!(filler, Node::Id(word) if word == "REPEAT");
        let filler = if repeats { Values::Each(vec![None; self.count]) } else { self.values(filler)? };
        let mut last = None;
        let spans = (0..self.count).map(|index| {
            let here = match values.at(index)? {
                Some(here) => Some(here),
                None if repeats => last,
                None => filler.at(index)?,
            };
            last = here;
            Ok(here)
        });
        Ok(Values::Each(spans.collect::<Result<_, MathError>>()?))
    }
}

impl Values {
    fn at(&self, index: usize) -> Result<Option<f64>, MathError> {
        match self {
            Self::One(value) => Ok(Some(*value)),
            Self::Each(spans) => Ok(spans.get(index).copied().flatten()),
            Self::List(_) => Err(MathError("a list is only good for SUM, AVG, MIN and MAX".to_owned())),
        }
    }

    fn constant(&self) -> Option<f64> {
        match self {
            Self::One(value) => Some(*value),
            Self::Each(_) | Self::List(_) => None,
        }
    }
}

impl Operator {
    fn of(self, left: f64, right: f64) -> f64 {
        let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
        match self {
            Self::Or => truth(left != 0.0 || right != 0.0),
            Self::And => truth(left != 0.0 && right != 0.0),
            Self::Less => truth(left < right),
            Self::LessOrEqual => truth(left <= right),
            Self::Greater => truth(left > right),
            Self::GreaterOrEqual => truth(left >= right),
            Self::Equal => truth(left.total_cmp(&right).is_eq()),
            Self::NotEqual => truth(left.total_cmp(&right).is_ne()),
            Self::Plus => left + right,
            Self::Minus => left - right,
            Self::Times => left * right,
            Self::Over => left / right,
            Self::Power => left.powf(right),
        }
    }
}

impl Function {
    fn check(self, name: &str, given: usize) -> Result<(), MathError> {
        let (least, most) = match self {
            Self::Abs | Self::Ceil | Self::Floor | Self::Rate | Self::Diff | Self::Period => (1, 1),
            Self::Sum | Self::Avg | Self::Min | Self::Max => (1, MOST_PARTS),
            Self::Fill => (2, 2),
            Self::If => (2, 3),
        };
        if (least..=most).contains(&given) {
            return Ok(());
        }
        Err(MathError(format!("{name} takes {least} argument(s) or more up to {most}, not {given}")))
    }
}

fn first(values: &[f64]) -> f64 {
    values.first().copied().unwrap_or(f64::NAN)
}

fn second(values: &[f64]) -> f64 {
    values.get(1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<Option<f64>> {
        let of = |id: &str| match id {
            "m1" => Some(vec![Some(1.0), None, Some(4.0)]),
            "m2" => Some(vec![Some(10.0), Some(0.0), Some(2.0)]),
            _ => None,
        };
        Math::parse(text).unwrap().values((60, 3), &of).unwrap()
    }

    #[test]
    fn expressions_are_worked_out_span_by_span() {
        for (text, expected) in [
            ("m1 / m2", [Some(0.1), None, Some(2.0)]),
            ("100 * m1 / (m1 + m2)", [Some(100.0 / 11.0), None, Some(400.0 / 6.0)]),
            ("m2 - 1 * 2", [Some(8.0), Some(-2.0), Some(0.0)]),
            ("-m2 ^ 2", [Some(100.0), Some(0.0), Some(4.0)]),
            ("FILL(m1, 0) + m2", [Some(11.0), Some(0.0), Some(6.0)]),
            ("FILL(m1, REPEAT)", [Some(1.0), Some(1.0), Some(4.0)]),
            ("IF(m2 > 1, m2)", [Some(10.0), None, Some(2.0)]),
            ("IF(m2 > 1 AND m2 < 5, 1, 0)", [Some(0.0), Some(0.0), Some(1.0)]),
            ("SUM([m1, m2])", [Some(11.0), Some(0.0), Some(6.0)]),
            ("MAX(m2) - MIN([m1, m2])", [Some(9.0), Some(10.0), Some(8.0)]),
            ("RATE(m1)", [None, None, Some(0.025)]),
            ("DIFF(m2)", [None, Some(-10.0), Some(2.0)]),
            ("m1 / 0", [None; 3]),
            ("PERIOD(m1)", [Some(60.0); 3]),
        ] {
            assert_eq!(values(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_or_asks_for_too_much_is_refused_in_words() {
        let said = |text: &str| Math::parse(text).map(|_| ()).unwrap_err().to_string();
        for (text, expected) in [
            ("", "a number, an id or a function is expected, not the end"),
            ("m1 +", "not the end"),
            ("(m1", "an operator or ) is expected"),
            ("m1 m2", "an operator or the end is expected, not \"m2\""),
            ("SEARCH('x')", "is expected"),
            ("ANOMALY_DETECTION_BAND(m1, 2)", "there is no function ANOMALY_DETECTION_BAND here"),
            ("IF(m1)", "IF takes 2"),
            ("1.2.3", "is no number"),
        ] {
            let found = said(text);
            assert!(found.contains(expected), "{text}: {found}");
        }
        assert!(said(&"(".repeat(2_000)).contains("nested"));
        assert!(said(&"-".repeat(2_000)).contains("nested"));
        assert!(said(&vec!["m1"; 600].join("+")).contains("500 parts"));
        let unknown = Math::parse("m3").unwrap().values((60, 1), &|_: &str| None);
        assert!(unknown.unwrap_err().to_string().contains("no metric or expression m3"));
        let list = Math::parse("[m1]").unwrap();
        assert!(list.values((60, 1), &|_: &str| Some(vec![None])).is_err());
        assert_eq!(Math::parse("m1 / m2 + m1").unwrap().ids().into_iter().collect::<Vec<_>>(), ["m1", "m2"]);
    }
}
