//! The one table from what goes wrong on the admin port to the problem document that the client gets (RFC 9457).
//!
//! Whoever may call this port may also read the configuration and the journal's path, so control's messages go out as they are; a panic's
//! text does not.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};

use super::{refusals::Refusal, wire};
use crate::{
    config::{Problem, Problems, Role},
    control::ControlError,
    name::{EndpointName, NameError},
    store::StoreError,
};

/// What a client that may try again is asked to wait: requests here take milliseconds, so a second is long.
const RETRY_AFTER_SECONDS: &str = "1";

/// How long failures count (see `tokens`).
const FAILURES_RETRY_SECONDS: &str = "60";

/// What can go wrong with a request to the admin port.
#[derive(Debug)]
pub(super) enum Fault {
    /// Control did not do it.
    Control(ControlError),
    /// There is nothing under this path.
    NoRoute {
        /// As asked.
        path: String,
    },
    /// The path does not take this method; the response's `allow` says which it takes.
    Method {
        /// As asked.
        method: http::Method,
    },
    /// A part of the path is not a name, so nothing can have it.
    Name(NameError),
    /// The query has a key or value that is not known.
    Query(String),
    /// The name of the actor is not one.
    Actor(String),
    /// The `host` header, or its absence, does not fit.
    ForeignHost {
        /// As sent.
        host: String,
    },
    /// A browser sends this on behalf of a page from elsewhere.
    ForeignOrigin {
        /// As sent.
        origin: String,
    },
    /// No valid token was shown, for this reason.
    NoToken(&'static str),
    /// The certificate is nobody's, and there are no tokens.
    NoIdentity,
    /// The caller's role does not reach.
    Role {
        /// Of the token or the identity.
        name: String,
        /// What it is.
        has: Role,
        /// What it would have to be at least.
        needed: Role,
    },
    /// This peer has failed too often to say who it is.
    ManyFailures,
    /// The body is not declared to be JSON.
    MediaType {
        /// As declared.
        given: Option<String>,
    },
    /// The body is longer than the limit.
    BodyTooLarge,
    /// The body broke off.
    BodyUnreadable,
    /// The body is not JSON.
    Syntax(serde_json::Error),
    /// The body is JSON of another shape.
    Shape(serde_json::Error),
    /// The endpoint's outcomes are not recorded.
    NotRecorded(EndpointName),
    /// The recording does not have what the replay asks for.
    Replay(String),
    /// No webhook is called so.
    NoWebhook {
        /// As asked.
        name: String,
        /// The known names, separated by commas.
        known: String,
    },
    /// The file of events cannot be read.
    EventsFile {
        /// As configured.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// There is no configuration file to read again.
    NoSource,
    /// A log level cannot be what is asked for, and why.
    LogLevel(String),
    /// The proxy runs inside another program, whose log this is not.
    NoLog,
    /// Too much is asked at once.
    Overloaded,
    /// The answer took too long.
    TooSlow,
    /// A handler panicked.
    Panicked,
    /// New shifts cannot be accepted.
    NotReady(String),
}

/// The row of the table.
struct Row {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
}

impl Fault {
    fn row(&self) -> Row {
        match self {
            Self::Control(error) => control_row(error),
            Self::NoRoute { .. } => row(StatusCode::NOT_FOUND, "about:blank", "Not Found"),
            Self::Method { .. } => row(StatusCode::METHOD_NOT_ALLOWED, "about:blank", "Method Not Allowed"),
            Self::Name(_) => row(StatusCode::NOT_FOUND, "urn:snapback:invalid-name", "Invalid name"),
            Self::Query(_) => row(StatusCode::BAD_REQUEST, "urn:snapback:invalid-query", "Invalid query"),
            Self::Actor(_) => row(StatusCode::BAD_REQUEST, "urn:snapback:invalid-actor", "Invalid actor"),
            Self::ForeignHost { .. } => {
                row(StatusCode::FORBIDDEN, "urn:snapback:foreign-host", "Foreign host")
            }
            Self::ForeignOrigin { .. } => {
                row(StatusCode::FORBIDDEN, "urn:snapback:foreign-origin", "Foreign origin")
            }
            Self::NoToken(_) => row(StatusCode::UNAUTHORIZED, "urn:snapback:unauthorized", "Unauthorized"),
            Self::NoIdentity => {
                row(StatusCode::UNAUTHORIZED, "urn:snapback:unknown-certificate", "Unknown certificate")
            }
            Self::Role { .. } => row(StatusCode::FORBIDDEN, "urn:snapback:role", "Role does not suffice"),
            Self::ManyFailures => {
                row(StatusCode::TOO_MANY_REQUESTS, "urn:snapback:many-failures", "Too many failures")
            }
            Self::MediaType { .. } => {
                row(StatusCode::UNSUPPORTED_MEDIA_TYPE, "about:blank", "Unsupported Media Type")
            }
            Self::BodyTooLarge => row(StatusCode::PAYLOAD_TOO_LARGE, "about:blank", "Content Too Large"),
            Self::BodyUnreadable => row(StatusCode::BAD_REQUEST, "about:blank", "Bad Request"),
            Self::Syntax(_) => row(StatusCode::BAD_REQUEST, "urn:snapback:invalid-json", "Invalid JSON"),
            Self::Shape(_) => INVALID_DOCUMENT,
            Self::NotRecorded(_) => row(StatusCode::CONFLICT, "urn:snapback:not-recorded", "Not recorded"),
            Self::Replay(_) => row(StatusCode::CONFLICT, "urn:snapback:no-replay", "Nothing to replay"),
            Self::NoWebhook { .. } => {
                row(StatusCode::NOT_FOUND, "urn:snapback:no-webhook", "No such webhook")
            }
            Self::EventsFile { .. } => {
                row(StatusCode::SERVICE_UNAVAILABLE, "urn:snapback:events-file", "Events' file unreadable")
            }
            Self::LogLevel(_) => INVALID_DOCUMENT,
            Self::NoLog => row(StatusCode::CONFLICT, "urn:snapback:no-log", "No log"),
            Self::NoSource => row(StatusCode::CONFLICT, "urn:snapback:no-file", "No configuration file"),
            Self::Overloaded => row(StatusCode::SERVICE_UNAVAILABLE, "urn:snapback:overloaded", "Overloaded"),
            Self::TooSlow => row(StatusCode::SERVICE_UNAVAILABLE, "urn:snapback:timeout", "Timeout"),
            Self::Panicked => row(StatusCode::INTERNAL_SERVER_ERROR, "about:blank", "Internal Server Error"),
            Self::NotReady(_) => row(StatusCode::SERVICE_UNAVAILABLE, "urn:snapback:not-ready", "Not ready"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Control(error) => error.to_string(),
            Self::NoRoute { path } => {
                format!("there is nothing under {path}; GET /v1/openapi.json says what there is")
            }
            Self::Method { method } => {
                format!("this path does not take {method}; the allow header says what it takes")
            }
            Self::Name(error) => error.to_string(),
            Self::Query(reason) => {
                format!("{reason}; GET /v1/openapi.json says which parameters each path takes")
            }
            Self::Actor(reason) | Self::Replay(reason) => reason.clone(),
            Self::NotRecorded(name) => {
                format!("endpoint {name} records nothing: its declaration says recording = 0")
            }
            Self::ForeignHost { host } => format!(
                "host {host:?} does not name this machine's loopback interface or the admin port's own address; set [admin] \
                 allow_remote = true to be called by other names"
            ),
            Self::ForeignOrigin { origin } => {
                format!(
                    "a page of {origin:?} may not change anything here: only pages of this port itself may"
                )
            }
            Self::NoToken(why) => {
                format!("{why}: send authorization: Bearer with a token of [admin] tokens_file")
            }
            Self::NoIdentity => {
                "the certificate is that of nobody in admin.identities: show another, or have it added there".to_owned()
            }
            Self::Role { name, has, needed } => {
                format!("{name} has the role {has}; this takes the role {needed}")
            }
            Self::ManyFailures => {
                "too many requests of nobody who is known came from this address; one of somebody known is served"
                    .to_owned()
            }
            Self::MediaType { given: Some(given) } => {
                format!("the body is {given:?}: send JSON, with content-type: application/json")
            }
            Self::MediaType { given: None } => {
                "the body's type is not given: send JSON, with content-type: application/json".to_owned()
            }
            Self::BodyTooLarge => {
                format!("the body is larger than {} KiB", super::layers::BODY_LIMIT_BYTES / 1024)
            }
            Self::BodyUnreadable => "the body broke off before its end".to_owned(),
            Self::Syntax(error) => format!("the body is not JSON: {error}"),
            Self::Shape(error) => format!("the body does not fit: {error}"),
            Self::NoWebhook { name, known } => format!("there is no webhook {name:?}; there are: {known}"),
            Self::EventsFile { path, reason } => format!("the events' file {path} cannot be read: {reason}"),
            Self::LogLevel(why) => why.clone(),
            Self::NoLog => "the proxy runs inside another program, which has the log".to_owned(),
            Self::NoSource => {
                "this process was started without a configuration file, so there is none to read again"
                    .to_owned()
            }
            Self::Overloaded => "too many requests at once; nothing was changed, try again".to_owned(),
            Self::TooSlow => format!(
                "no answer within {} s; what was asked for may still happen, so look before trying again",
                super::layers::TIMEOUT.as_secs()
            ),
            Self::Panicked => "an internal error; the log has more".to_owned(),
            Self::NotReady(reason) => reason.clone(),
        }
    }

    /// What is wrong with a document, key by key.
    fn problems(&self) -> Vec<wire::KeyProblem> {
        if let Self::Control(ControlError::Problems(Problems { source: _, problems })) = self {
            problems.iter().map(key_problem).collect()
        } else if let Self::Syntax(error) | Self::Shape(error) = self {
            let (key, message) = (String::new(), error.to_string());
            vec![wire::KeyProblem { key, line: Some(error.line()), message }]
        } else {
            Vec::new()
        }
    }

    fn running_shift(&self) -> Option<String> {
        if let Self::Control(ControlError::ShiftRunning { endpoint: _, running }) = self {
            Some(running.to_string())
        } else {
            None
        }
    }

    /// The document.
    pub(super) fn document(&self) -> wire::Problem {
        let Row { status, kind, title } = self.row();
        wire::Problem {
            kind: kind.to_owned(),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail(),
            running_shift: self.running_shift(),
            problems: self.problems(),
        }
    }
}

const INVALID_DOCUMENT: Row = Row {
    status: StatusCode::UNPROCESSABLE_ENTITY,
    kind: "urn:snapback:invalid-document",
    title: "Invalid document",
};

const fn row(status: StatusCode, kind: &'static str, title: &'static str) -> Row {
    Row { status, kind, title }
}

fn control_row(error: &ControlError) -> Row {
    match error {
        ControlError::NoEndpoint { .. } => {
            row(StatusCode::NOT_FOUND, "urn:snapback:no-endpoint", "No such endpoint")
        }
        ControlError::NoAlarm { .. } => row(StatusCode::NOT_FOUND, "urn:snapback:no-alarm", "No such alarm"),
        ControlError::AlarmRaised { .. } => {
            row(StatusCode::CONFLICT, "urn:snapback:alarm-raised", "An alarm is raised")
        }
        ControlError::NoShift(_) => row(StatusCode::NOT_FOUND, "urn:snapback:no-shift", "No such shift"),
        ControlError::ShiftRunning { .. } => {
            row(StatusCode::CONFLICT, "urn:snapback:shift-running", "A shift is running")
        }
        ControlError::NotScalable { .. } => {
            row(StatusCode::CONFLICT, "urn:snapback:not-scalable", "Not the proxy's to scale")
        }
        ControlError::QueueFull { .. } => {
            row(StatusCode::CONFLICT, "urn:snapback:queue-full", "The queue is full")
        }
        ControlError::NotQueued(_) => row(StatusCode::NOT_FOUND, "urn:snapback:not-queued", "Not in a queue"),
        ControlError::NothingToUndo { .. } => {
            row(StatusCode::CONFLICT, "urn:snapback:nothing-to-undo", "Nothing to undo")
        }
        ControlError::Frozen { .. } => row(StatusCode::CONFLICT, "urn:snapback:frozen", "Frozen"),
        ControlError::Refused(_) => row(StatusCode::CONFLICT, "urn:snapback:refused", "Refused"),
        ControlError::Problems(_) => INVALID_DOCUMENT,
        ControlError::Store(StoreError::Full { .. }) => {
            row(StatusCode::INSUFFICIENT_STORAGE, "urn:snapback:disk-full", "Disk full")
        }
        ControlError::Store(
            StoreError::Open { .. }
            | StoreError::Newer { .. }
            | StoreError::InUse { .. }
            | StoreError::Write { .. }
            | StoreError::Corrupt { .. },
        ) => row(StatusCode::SERVICE_UNAVAILABLE, "urn:snapback:journal", "Journal failed"),
        ControlError::ShuttingDown => {
            row(StatusCode::SERVICE_UNAVAILABLE, "urn:snapback:shutting-down", "Shutting down")
        }
    }
}

fn key_problem(problem: &Problem) -> wire::KeyProblem {
    let Problem { key, line, message } = problem;
    wire::KeyProblem { key: key.clone(), line: *line, message: message.clone() }
}

impl From<ControlError> for Fault {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl From<Problems> for Fault {
    fn from(problems: Problems) -> Self {
        Self::Control(problems.into())
    }
}

impl From<NameError> for Fault {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let document = self.document();
        let text = serde_json::to_string(&document).expect("a problem is strings and numbers");
        let status = StatusCode::from_u16(document.status).expect("it was made from one");
        let mut response = Response::new(Body::from(text));
        response.extensions_mut().insert(Refusal(document.detail));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"snapback\""));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(FAILURES_RETRY_SECONDS));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        name::{EndpointName, ShiftId},
        shift::Refusal,
    };

    fn json(fault: Fault) -> serde_json::Value {
        serde_json::to_value(fault.document()).unwrap()
    }

    #[test]
    fn a_second_shift_is_told_which_one_runs() {
        let fault = Fault::from(ControlError::ShiftRunning {
            endpoint: EndpointName::parse("chat").unwrap(),
            running: ShiftId::parse("chat-7").unwrap(),
        });
        assert_eq!(
            json(fault),
            serde_json::json!({
                "type": "urn:snapback:shift-running",
                "title": "A shift is running",
                "status": 409,
                "detail": "endpoint chat has a running shift, chat-7: wait for its end, or abort it",
                "running_shift": "chat-7",
            })
        );
    }

    #[test]
    fn every_problem_of_a_document_is_listed_with_its_key() {
        let problems = vec![
            Problem { key: "green.version".to_owned(), line: None, message: "is missing".to_owned() },
            Problem { key: "guard[0].below".to_owned(), line: None, message: "0% can never hold".to_owned() },
        ];
        let document = json(Problems { source: "request body".to_owned(), problems }.into());
        assert_eq!(document["status"], 422);
        assert_eq!(
            document["problems"],
            serde_json::json!([
                {"key": "green.version", "message": "is missing"},
                {"key": "guard[0].below", "message": "0% can never hold"},
            ])
        );
    }

    #[test]
    fn broken_json_is_told_where_it_breaks() {
        let error = serde_json::from_str::<serde_json::Value>("{\n  \"green\": ,\n}").unwrap_err();
        let document = json(Fault::Syntax(error));
        assert_eq!(document["status"], 400);
        assert_eq!(document["detail"], "the body is not JSON: expected value at line 2 column 12");
        assert_eq!(document["problems"][0]["line"], 2);
    }

    #[test]
    fn each_error_of_control_has_its_status() {
        let path = || std::path::PathBuf::from("a.db");
        let cases = [
            (ControlError::NoShift(ShiftId::parse("x").unwrap()), 404),
            (ControlError::Refused(Refusal::GreenNotReady), 409),
            (ControlError::Store(StoreError::Full { path: path() }), 507),
            (ControlError::Store(StoreError::Write { path: path(), reason: "read-only".to_owned() }), 503),
            (ControlError::ShuttingDown, 503),
        ];
        for (error, status) in cases {
            let response = Fault::from(error).into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503);
        }
    }
}
