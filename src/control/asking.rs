//! One question about a polled alarm: over a connection of its own, bounded in time and size.
//!
//! A connection for each question, as health checks have it: questions are seconds apart, and a kept connection would hide that the server
//! behind a name has changed. Redirects are not followed, since a token must go nowhere but where the plan says.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method as Verb, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::{answers, lookup::LookUp, token};
use crate::{
    alarm::{Answer, Method, Poll, Question, Subject},
    config::format_size,
    fleet::UpstreamTls,
    net::{Plain, Stream},
    time::format_duration,
    tls::{Connector, Keychain},
};

/// How a question names itself.
const USER_AGENT: &str = concat!("snapback-alarm/", env!("CARGO_PKG_VERSION"));

/// An answer of a state and a sentence needs a thousandth of it; a query that gives thousands of series is one to write differently.
const ANSWER_LIMIT: usize = 1 << 20;

/// The largest head of an answer.
const HEAD_LIMIT: usize = 64 << 10;

/// How questions are asked: [`Web`], or what a test puts in its place.
pub(super) trait Inquire: Send + Sync + fmt::Debug {
    /// Asks once; the caller bounds the time. The error says in a few words what was wrong.
    fn ask<'a>(&'a self, inquiry: &'a mut Inquiry) -> BoxFuture<'a, Result<Answer, String>>;
}

/// Questions over the network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Web;

/// A question that is asked again and again.
#[derive(Debug)]
pub(super) struct Inquiry {
    /// The alarm's name.
    pub(super) alarm: String,
    pub(super) poll: Poll,
    pub(super) subject: Subject,
    tls: Option<Arc<Connector>>,
    lookup: LookUp,
}

impl Inquiry {
    /// May read certificate files.
    pub(super) fn new(alarm: &str, poll: &Poll, subject: Subject, keychain: &Keychain) -> Self {
        let secured = || {
            let spec = UpstreamTls { ca: poll.ca.clone(), server_name: None, identity: None };
            keychain.connector(&Arc::new(spec))
        };
        Self {
            alarm: alarm.to_owned(),
            poll: poll.clone(),
            subject,
            tls: poll.url.is_secure().then(secured),
            lookup: LookUp::default(),
        }
    }

    /// Asks once, within the poll's timeout.
    pub(super) async fn ask(&mut self, inquirer: &dyn Inquire) -> Result<Answer, String> {
        let limit = self.poll.timeout;
        let asked = tokio::time::timeout(limit, inquirer.ask(self)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {}", format_duration(limit))))
    }

    async fn open(&mut self) -> Result<Stream, String> {
        let url = &self.poll.url;
        let mut reason = String::new();
        for address in self.lookup.resolve(&url.address()).await? {
            let plain = match Plain::connect(address).await {
                Ok(plain) => plain,
                Err(error) => {
                    reason = format!("no connection: {error}");
                    continue;
                }
            };
            let Some(tls) = &self.tls else { return Ok(Stream::Plain(plain)) };
            let shaken = tls.connect(plain, Some(url.host()), &["http/1.1"]).await;
            return shaken.map(Stream::Tls).map_err(|error| format!("no TLS: {error}"));
        }
        Err(reason)
    }

    fn request(&self, token: Option<&str>) -> Result<Request<Full<Bytes>>, String> {
        let url = &self.poll.url;
        let (verb, path, kind, body) = match &self.poll.question {
            Question::Webhook(Method::Get) => {
                (Verb::GET, url.path_and_query().to_owned(), None, Bytes::new())
            }
            Question::Webhook(Method::Post) => {
                let body = answers::webhook_question(&self.alarm, &self.subject);
                (Verb::POST, url.path_and_query().to_owned(), Some("application/json"), body)
            }
            Question::Prometheus(query) => {
                let body = answers::form(&query.about(&self.subject), self.poll.timeout);
                (Verb::POST, url.below("/api/v1/query"), Some("application/x-www-form-urlencoded"), body)
            }
        };
        let mut request = Request::builder()
            .method(verb)
            .uri(path)
            .header(header::HOST, url.authority())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json")
            .header(header::CONNECTION, "close");
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| "its token is no visible ASCII".to_owned())?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(Full::new(body)).map_err(|error| format!("it cannot be asked: {error}"))
    }
}

impl Inquire for Web {
    fn ask<'a>(&'a self, inquiry: &'a mut Inquiry) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let token = match &inquiry.poll.token {
                Some(source) => Some(token::read(source).await?),
                None => None,
            };
            let request = inquiry.request(token.as_deref())?;
            let stream = inquiry.open().await?;
            let answer = exchange(stream, request, &inquiry.poll.question).await;
            // Whoever answers may repeat what it was sent, and what it says is journalled.
            match token {
                Some(token) => answer
                    .map(|answer| without(&token, answer))
                    .map_err(|text| text.replace(&token, "[token]")),
                None => answer,
            }
        })
    }
}

fn without(token: &str, answer: Answer) -> Answer {
    Answer { reason: answer.reason.replace(token, "[token]"), ..answer }
}

async fn exchange(
    stream: Stream,
    request: Request<Full<Bytes>>,
    question: &Question,
) -> Result<Answer, String> {
    let failed = |error: hyper::Error| format!("no answer: {error}");
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_buf_size(HEAD_LIMIT);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let read = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        answers::acceptable(&response, question)?;
        let status = response.status();
        let body = body(response).await?;
        answers::read(status, &body, question)
    };
    tokio::pin!(read, connection);
    // The connection must be driven for the answer to come; it may end before the answer is taken.
    tokio::select! {
        answer = &mut read => answer,
        ended = &mut connection => match ended {
            Ok(()) => read.await,
            Err(error) => Err(failed(error)),
        },
    }
}

async fn body(response: Response<Incoming>) -> Result<Bytes, String> {
    match Limited::new(response.into_body(), ANSWER_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(format!("its answer is larger than {}", format_size(ANSWER_LIMIT as u64)))
        }
        Err(error) => Err(format!("its answer broke off: {error}")),
    }
}
