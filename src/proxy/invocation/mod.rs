//! Amazon SageMaker Runtime's API, for endpoints that speak it: what its clients send is made a container's request, and what comes back is
//! said in the words that they know.
//!
//! All of it stands around the handling of a request, not inside: the container's own status is what is counted, rescued and seen by alarms,
//! and the client's 424 is made from it afterwards. Paths, headers and errors:
//! <https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html>.

mod events;
mod head;
mod reply;

pub(super) use events::EventStream;

use std::rc::Rc;

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRAILER},
    request,
};

use super::{
    answer::Cause, body::ResponseBody, caller::Caller, error::Failure, forward, forwarded::Door,
    incoming::Incoming, signing, upload::Early,
};
use crate::{clock, name::VariantName};

/// Where the paths of this API begin.
const PREFIX: &str = "/endpoints/";

/// The API's own bound of a body: what is larger is not read to know who signed it.
const BODY_LIMIT_BYTES: u64 = 6_291_456;

/// What an API's request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    /// `InvokeEndpoint`
    Invoke,
    /// `InvokeEndpointWithResponseStream`
    Stream,
    /// `InvokeEndpointAsync`
    Async,
    /// A path of OpenAI's API, behind the endpoint's name.
    OpenAi,
}

/// A request of this API.
#[derive(Debug)]
struct Invocation {
    endpoint: String,
    operation: Operation,
    named: Named,
}

/// What a name in a path stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Named {
    /// No endpoint has it.
    Nobody,
    /// An endpoint that does not speak this API.
    Another,
    /// One that does, and the name of its one variant where it has no others.
    Ours { alone: Option<VariantName> },
}

/// Whether a path may be this API's.
pub(super) fn may_be_meant(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Answers a request that may be this API's.
pub(super) async fn handle(caller: &Rc<Caller>, request: Request<Incoming>) -> Response<ResponseBody> {
    match Invocation::of(caller, &request) {
        Some(invocation) => invocation.answer(caller, request).await,
        None => forward::answered(caller, request).await,
    }
}

impl Invocation {
    /// `None` of a request that is the endpoint's own affair.
    fn of(caller: &Caller, request: &Request<Incoming>) -> Option<Self> {
        let (endpoint, rest) = request.uri().path().strip_prefix(PREFIX)?.split_once('/')?;
        let operation = match rest {
            "invocations" => Operation::Invoke,
            "invocations-response-stream" => Operation::Stream,
            "async-invocations" => Operation::Async,
            other if other.starts_with("openai/") => Operation::OpenAi,
            _ => return None,
        };
        if operation != Operation::OpenAi && request.method() != Method::POST {
            return None;
        }
        let mut named = caller.worker().named(endpoint);
        // By the admin port nobody comes to what does not speak this API.
        if named == Named::Another && caller.client.downstream().door() == Door::Admin {
            named = Named::Nobody;
        }
        match named {
            Named::Another => return None,
            // An endpoint of another name may take the path, unless this is where SageMaker's clients look for theirs.
            Named::Nobody if caller.worker().settings.amazon.is_none() => return None,
            Named::Nobody | Named::Ours { .. } => {}
        }
        Some(Self { endpoint: endpoint.to_owned(), operation, named })
    }

    async fn answer(self, caller: &Rc<Caller>, request: Request<Incoming>) -> Response<ResponseBody> {
        caller.mark_received(clock::now());
        let (mut parts, mut incoming) = request.into_parts();
        if let Some(keyring) = signing::keyring(caller) {
            let mut early = Early::default();
            let checked =
                signing::check(caller, keyring, &parts, BODY_LIMIT_BYTES, &mut incoming, &mut early).await;
            match checked {
                Ok(()) => caller.mark_signed(early),
                Err(failure) => {
                    forward::discard(caller, &parts.headers, early, incoming).await;
                    return self.refuse(caller, &failure);
                }
            }
        }
        let account = caller.worker().settings.amazon.as_ref().map_or("", |amazon| &amazon.account);
        if let Err(message) = self.prepare(&mut parts, account) {
            forward::discard(caller, &parts.headers, caller.take_early(), incoming).await;
            return reply::refusal(caller, &message);
        }
        let response = forward::answered(caller, Request::from_parts(parts, incoming)).await;
        if self.operation == Operation::OpenAi {
            return response;
        }
        if let Some(cause) = response.extensions().get::<Cause>().cloned() {
            return reply::own_failure(&self.names(caller), cause, response);
        }
        if response.status().as_u16() >= 400 {
            return reply::model_error(&self.names(caller), response).await;
        }
        match self.operation {
            Operation::Stream => stream(caller, response),
            Operation::Invoke | Operation::Async | Operation::OpenAi => response,
        }
    }

    /// Says why nobody is known to have signed the request.
    fn refuse(&self, caller: &Caller, failure: &Failure) -> Response<ResponseBody> {
        let response = forward::refuse(caller, failure);
        match (signing::defect(failure), response.extensions().get::<Cause>().cloned()) {
            (Some(defect), _) => reply::unsigned(defect, response),
            (None, Some(cause)) => reply::own_failure(&self.names(caller), cause, response),
            (None, None) => response,
        }
    }

    /// Makes the head a container's, or says why it is none of this API's.
    fn prepare(&self, parts: &mut request::Parts, account: &str) -> Result<(), String> {
        let Named::Ours { alone } = &self.named else {
            return Err(format!("Endpoint {} of account {account} not found.", self.endpoint));
        };
        let path = match self.operation {
            Operation::Async => {
                return Err(
                    "Asynchronous invocations are not supported here: invoke the endpoint itself.".to_owned()
                );
            }
            Operation::OpenAi => {
                let rest = parts.uri.path().strip_prefix(PREFIX).and_then(|path| path.split_once("/openai"));
                format!("{PREFIX}{}{}", self.endpoint, rest.map_or("", |(_, rest)| rest))
            }
            Operation::Invoke | Operation::Stream => {
                head::check(&parts.headers, alone.as_ref(), &self.endpoint)?;
                head::keep_modelled(&mut parts.headers, self.operation == Operation::Stream);
                format!("{PREFIX}{}/invocations", self.endpoint)
            }
        };
        let target = match (self.operation, parts.uri.query()) {
            (Operation::OpenAi, Some(query)) => format!("{path}?{query}"),
            _ => path,
        };
        parts.uri = target.parse::<Uri>().map_err(|_| "The path is not one of this API.".to_owned())?;
        Ok(())
    }

    fn names<'a>(&'a self, caller: &'a Caller) -> reply::Names<'a> {
        reply::Names { endpoint: &self.endpoint, amazon: caller.worker().settings.amazon.as_ref() }
    }
}

/// Passes an answer on as events.
fn stream(caller: &Rc<Caller>, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let headers = response.headers_mut();
    let content_type = headers.insert(CONTENT_TYPE, HeaderValue::from_static(events::MEDIA_TYPE));
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, TRAILER] {
        headers.remove(name);
    }
    if let Some(content_type) = content_type {
        headers.insert(head::STREAM_CONTENT_TYPE, content_type);
    }
    *response.status_mut() = StatusCode::OK;
    response.map(|body| ResponseBody::Events(Box::new(EventStream::new(caller, body))))
}
