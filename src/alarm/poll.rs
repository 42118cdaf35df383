//! Polled alarms: an external alarm for whose state snapback asks, again and again.
//!
//! A question has an [`Answer`] or fails. An answer counts as a report and holds for the alarm's lease. So that one odd answer ends no
//! shift, a plan can ask for M alarming ones of the last N; so that one lost packet says nothing, only so many failures in a row do.

use std::{fmt, path::PathBuf, time::Duration};

use super::{AlarmState, Comparison};

/// How and how often an alarm's state is asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Poll {
    /// What is asked.
    pub question: Question,
    /// Where.
    pub url: PollUrl,
    /// From one answer to the next question.
    pub every: Duration,
    /// How long one question may take, from the look-up of the name to the last byte.
    pub timeout: Duration,
    /// N: how many of the last answers are looked at; at least 1.
    pub answers: usize,
    /// M: how many of them must say alarm; from 1 to N.
    pub datapoints: usize,
    /// After so many failures in a row the alarm says `on_error`; at least 1.
    pub errors: u32,
    /// What it says then.
    pub on_error: AlarmState,
    /// What is shown to whoever answers.
    pub token: Option<Token>,
    /// A PEM file with the authorities that are trusted, and no others; without it the system's are.
    pub ca: Option<PathBuf>,
}

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
pub enum Question {
    /// Its state, as JSON: `{"state": "ok", "reason": "..."}`.
    Webhook(Method),
    /// A query of a Prometheus, as an instant vector or a scalar (<https://prometheus.io/docs/prometheus/latest/querying/api/>).
    Prometheus(Query),
}

/// How a webhook is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// With nothing but its URL.
    Get,
    /// With a JSON object that says whose alarm it is.
    Post,
}

/// A query and what its values mean.
#[derive(Clone, PartialEq, Debug)]
pub struct Query {
    /// In PromQL; `$endpoint`, `$shift`, `$blue` and `$green` stand for the shift's.
    pub text: String,
    /// On which side of the bound a value breaches.
    pub comparison: Comparison,
    /// The bound.
    pub bound: f64,
    /// What it says when there is no value: no series, or none but of what is not a number.
    pub missing: AlarmState,
}

/// Where a token is read, at each question. The token itself is in no document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Token {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Environment(String),
}

/// The address of a webhook or of a Prometheus.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PollUrl(http::Uri);

/// Why a text is not an address to ask at.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PollUrlError {
    /// Not the form that it must have.
    #[error("{0:?} is not a URL to ask at: write for instance \"https://grader.internal:8443/state\"")]
    Form(String),
    /// A name and a password would be in the journal, and in every answer that shows the plan.
    #[error(
        "a URL with a name or a password would be shown with the plan: write token_file or token_env instead"
    )]
    Credentials,
}

/// What a question came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// What it says.
    pub state: AlarmState,
    /// Why, in the words of whoever answered; may be empty.
    pub reason: String,
    /// The value that decided it, of a query.
    pub value: Option<f64>,
}

/// Whose alarm it is, for placeholders in a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The endpoint's name.
    pub endpoint: String,
    /// The shift's id.
    pub shift: String,
    /// The version in service when the shift began.
    pub blue: String,
    /// The version coming in.
    pub green: String,
}

impl PollUrl {
    /// The longest address.
    const MOST_BYTES: usize = 2_048;

    /// Checks a text: an absolute http or https URL without credentials or fragment.
    ///
    /// # Errors
    /// Says what would be right, and never repeats credentials.
    pub fn parse(text: &str) -> Result<Self, PollUrlError> {
        let form = || PollUrlError::Form(text.chars().take(80).collect());
        let authority = text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next());
        if authority.flatten().is_some_and(|authority| authority.contains('@')) {
            return Err(PollUrlError::Credentials);
        }
        let uri: http::Uri = text.parse().map_err(|_| form())?;
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let fits = text.len() <= Self::MOST_BYTES && !text.contains('#') && uri.port_u16() != Some(0);
        if is_known && has_host && fits { Ok(Self(uri)) } else { Err(form()) }
    }

    /// Whether it is asked over TLS.
    pub fn is_secure(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The host without brackets, for a certificate's name.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// As written, for the `host` header.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// Host and port, the scheme's if it has none of its own: what a connection is made to.
    pub fn address(&self) -> String {
        let port = self.0.port_u16().unwrap_or(if self.is_secure() { 443 } else { 80 });
        format!("{}:{port}", self.0.host().unwrap_or_default())
    }

    /// Path and query, at least `/`.
    pub fn path_and_query(&self) -> &str {
        self.0.path_and_query().map_or("/", |path| path.as_str())
    }

    /// The path of something below it.
    pub fn below(&self, rest: &str) -> String {
        format!("{}{rest}", self.0.path().trim_end_matches('/'))
    }
}

impl fmt::Display for PollUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Method {
    /// `GET` or `POST`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

impl Query {
    /// What a query's names may stand for.
    pub const PLACEHOLDERS: [&'static str; 4] = ["endpoint", "shift", "blue", "green"];

    /// A placeholder that there is not, if the text has one. A `$` before anything but a letter is no placeholder: regular expressions end
    /// in it.
    pub fn unknown_placeholder(text: &str) -> Option<String> {
        let names = text.split('$').skip(1).map(placeholder).filter(|name| !name.is_empty());
        names.into_iter().find(|name| !Self::PLACEHOLDERS.contains(name)).map(str::to_owned)
    }

    /// The query for a shift. Names and versions have no character that could end a string in PromQL.
    pub fn about(&self, subject: &Subject) -> String {
        let Subject { endpoint, shift, blue, green } = subject;
        let mut parts = self.text.split('$');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let name = placeholder(part);
            let value = match name {
                "endpoint" => endpoint,
                "shift" => shift,
                "blue" => blue,
                "green" => green,
                other => {
                    text.push('$');
                    other
                }
            };
            text.push_str(value);
            text.push_str(&part[name.len()..]);
        }
        text
    }

    /// What the series of an answer say: alarm if one of them breaches, told by the one that is furthest beyond the bound, else nearest to
    /// it. What is not a number is no value, since Prometheus gives it for a rate of nothing (0/0).
    pub fn judge(&self, values: impl IntoIterator<Item = f64>) -> Answer {
        let numbers: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        let worst = numbers.iter().copied().reduce(|one, other| match self.comparison {
            Comparison::Above | Comparison::AtLeast => one.max(other),
            Comparison::Below | Comparison::AtMost => one.min(other),
        });
        let side = format!("{} {}", self.comparison.as_str().replace('_', " "), self.bound);
        let Some(worst) = worst else {
            let (state, reason) = (self.missing, "the query gives no value".to_owned());
            return Answer { state, reason, value: None };
        };
        let breaching = numbers.iter().filter(|value| self.comparison.breaches(**value, self.bound)).count();
        let of = if numbers.len() == 1 {
            String::new()
        } else {
            format!(" ({breaching} of {} series)", numbers.len())
        };
        let (state, says) = match breaching {
            0 => (AlarmState::Ok, format!("{worst} is not {side}")),
            _ => (AlarmState::Alarm, format!("{worst} is {side}")),
        };
        Answer { state, reason: format!("{says}{of}"), value: Some(worst) }
    }

    /// How near a value is to the bound: 0 to 1, and 1 only where it breaches.
    pub fn nearness(&self, value: f64) -> f64 {
        self.comparison.nearness(value, self.bound)
    }
}

/// The letters that a text begins with.
fn placeholder(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use AlarmState::{Alarm, InsufficientData, Ok as Fine};

    fn query(comparison: Comparison, bound: f64) -> Query {
        Query { text: String::new(), comparison, bound, missing: InsufficientData }
    }

    fn says(comparison: Comparison, values: &[f64]) -> (AlarmState, String) {
        let answer = query(comparison, 0.5).judge(values.iter().copied());
        (answer.state, answer.reason)
    }

    #[test]
    fn any_series_that_breaches_raises_the_alarm_and_the_worst_is_told() {
        assert_eq!(says(Comparison::Above, &[0.5]), (Fine, "0.5 is not above 0.5".to_owned()));
        assert_eq!(says(Comparison::AtLeast, &[0.5]), (Alarm, "0.5 is at least 0.5".to_owned()));
        let (state, reason) = says(Comparison::Above, &[0.1, 0.9, 0.7]);
        assert_eq!((state, reason.as_str()), (Alarm, "0.9 is above 0.5 (2 of 3 series)"));
        assert_eq!(says(Comparison::Below, &[0.9, 0.4]).0, Alarm);
        assert_eq!(says(Comparison::AtMost, &[0.5]).0, Alarm);
        assert_eq!(says(Comparison::Above, &[f64::INFINITY]).0, Alarm);
    }

    #[test]
    fn what_is_not_a_number_is_no_value_and_no_value_is_what_the_plan_says() {
        assert_eq!(says(Comparison::Above, &[f64::NAN, 0.9]).0, Alarm);
        assert_eq!(says(Comparison::Above, &[f64::NAN]), says(Comparison::Above, &[]));
        assert_eq!(says(Comparison::Above, &[]), (InsufficientData, "the query gives no value".to_owned()));
        let query = Query { missing: Fine, ..query(Comparison::Above, 1.0) };
        assert_eq!(query.judge([]).state, Fine);
    }

    #[test]
    fn nearness_is_one_only_beyond_the_bound() {
        let above = query(Comparison::Above, 0.5);
        assert_eq!([0.0, 0.25, 0.5, 0.51].map(|value| above.nearness(value)), [0.0, 0.5, 0.99, 1.0]);
        let below = query(Comparison::Below, 0.5);
        assert_eq!([1.0, 0.5, 0.4].map(|value| below.nearness(value)), [0.5, 0.99, 1.0]);
        assert_eq!(query(Comparison::Above, 0.0).nearness(-1.0), 0.0);
    }

    #[test]
    fn placeholders_stand_for_the_shifts_names_and_a_dollar_of_a_pattern_stays() {
        let subject = Subject {
            endpoint: "chat".to_owned(),
            shift: "chat-1".to_owned(),
            blue: "v1".to_owned(),
            green: "v2".to_owned(),
        };
        let text = "bad{version=\"$green\",e=~\"$endpoint$\",s=\"$shift\"}/ok{version=\"$blue\"}";
        let query = Query { text: text.to_owned(), ..query(Comparison::Above, 1.0) };
        assert_eq!(query.about(&subject), "bad{version=\"v2\",e=~\"chat$\",s=\"chat-1\"}/ok{version=\"v1\"}");
        assert_eq!(Query::unknown_placeholder(text), None);
        assert_eq!(Query::unknown_placeholder("up{v=\"$greeen\"}").as_deref(), Some("greeen"));
    }

    #[test]
    fn an_address_is_absolute_and_holds_no_secret() {
        let url = PollUrl::parse("https://grader.internal/state?of=chat").unwrap();
        assert_eq!((url.is_secure(), url.host()), (true, "grader.internal"));
        assert_eq!(url.address(), "grader.internal:443");
        assert_eq!(url.path_and_query(), "/state?of=chat");
        let url = PollUrl::parse("http://[::1]:9090/prom/").unwrap();
        assert_eq!(
            (url.host(), url.address().as_str(), url.authority()),
            ("::1", "[::1]:9090", "[::1]:9090")
        );
        assert_eq!(url.below("/api/v1/query"), "/prom/api/v1/query");
        for bad in
            ["", "/state", "grader:80", "ftp://a/", "http://", "http://a:0/", "http://a/#b", "http://a b/"]
        {
            assert!(matches!(PollUrl::parse(bad), Err(PollUrlError::Form(_))), "{bad}");
        }
        assert_eq!(PollUrl::parse("http://me:secret@a/"), Err(PollUrlError::Credentials));
    }
}
