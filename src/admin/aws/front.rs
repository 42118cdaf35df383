//! The path of Amazon's protocols: `POST /`, with the operation in `x-amz-target`
//! (<https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>) or, in the Query protocol, in the form. CloudWatch has another one for CBOR,
//! which names the operation itself.
//!
//! A caller who gives up does not undo half of what it asked for: operations run to their end on tasks of their own.

use std::{io::Read as _, sync::Arc};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, Method, StatusCode, header, request::Parts};
use serde_json::Value;

use super::{
    caller, cbor,
    dialect::{Dialect, RPC_V2_CBOR, SMITHY_PROTOCOL, request_id},
    fault::{Fault, Kind},
    query::Form,
};
use crate::{
    admin::{actor::HeaderActor, cloudwatch, problem, refusals::Refusal, sagemaker, state::Port},
    control::Actor,
};

/// Which service and which of its operations.
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// What the targets of each service begin with.
const SAGEMAKER_PREFIX: &str = "SageMaker.";
const CLOUDWATCH_PREFIX: &str = "GraniteServiceVersion20100801.";

/// The largest body once it is unpacked; clients pack what is longer than some kilobytes.
const UNPACKED_LIMIT_BYTES: u64 = 4 << 20;

/// What an operation answers.
#[derive(Debug, Default)]
pub(in crate::admin) struct Answer {
    /// The body; without one, it is empty.
    pub(in crate::admin) document: Option<Value>,
    /// What stands in the head besides, for clients whose model of the body has no place for it.
    pub(in crate::admin) headers: Vec<(HeaderName, String)>,
}

impl From<Value> for Answer {
    fn from(document: Value) -> Self {
        Self { document: Some(document), headers: Vec::new() }
    }
}

/// An operation of one of the services.
#[derive(Clone, Copy, Debug)]
enum Operation {
    SageMaker(sagemaker::Operation),
    CloudWatch(cloudwatch::Operation),
}

/// What is asked for.
#[derive(Debug)]
enum Asked {
    /// The body is the document.
    Target(String),
    /// The body was a form.
    Form(Box<Form>),
    /// The path names an operation of CloudWatch's, and the body is CBOR.
    Call(String),
}

/// `POST /`
pub(in crate::admin) async fn serve(
    State(port): State<Arc<Port>>,
    actor: HeaderActor,
    request: Request,
) -> Response {
    let Some(api) = port.sagemaker.clone() else {
        return problem::Fault::Method { method: Method::POST }.into_response();
    };
    let dialect = dialect(request.headers(), request.uri().path());
    let (parts, body) = request.into_parts();
    let answered = match read(Request::from_parts(parts.clone(), body)).await {
        Ok(body) => answer(&api, actor, dialect, (&parts, &body)).await,
        Err(fault) => Err(Refused { fault, what: None }),
    };
    let id = request_id();
    match answered {
        Ok((operation, answer)) => dialect.answer(operation.name(), answer, &id),
        Err(Refused { fault, what }) => {
            let mut response = dialect.fault(&fault, &id);
            if let Some(what) = what {
                // For the trail: callers who have no business here, and what was to change something and was refused.
                response.extensions_mut().insert(Refusal(format!("{what}: {}", fault.message)));
            }
            response
        }
    }
}

/// A request that was not carried out, and what it was, where that belongs into the trail.
struct Refused {
    fault: Fault,
    what: Option<&'static str>,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { fault, what: None }
    }
}

async fn answer(
    api: &Arc<sagemaker::Api>,
    actor: HeaderActor,
    dialect: Dialect,
    (parts, body): (&Parts, &Bytes),
) -> Result<(Operation, Answer), Refused> {
    let caller = match caller::of(api.keys(), service(dialect), parts, body).await {
        Ok(caller) => caller,
        Err(fault) => return Err(Refused { fault, what: Some("an AWS signature") }),
    };
    let body = unpacked(&parts.headers, body)?;
    let asked = asked(dialect, parts, &body)?;
    let operation = asked.operation()?;
    // What the signature proves stands, and a header's claim only where nobody has to sign.
    let actor = match caller {
        Some(id) => actor.signed_by(id),
        None => actor.or(None).map_err(|_| Fault::validation("x-snapback-actor is no name"))?,
    };
    let document = asked.document(operation, &body)?;
    match run(Arc::clone(api), operation, document, actor).await {
        Ok(answer) => Ok((operation, answer)),
        Err(fault) => Err(Refused { fault, what: operation.changes().then(|| operation.name()) }),
    }
}

async fn run(
    api: Arc<sagemaker::Api>,
    operation: Operation,
    document: Value,
    actor: Actor,
) -> Result<Answer, Fault> {
    let running = tokio::spawn(async move {
        match operation {
            Operation::SageMaker(operation) => api.run(operation, document, actor).await,
            Operation::CloudWatch(operation) => api.cloudwatch().run(operation, document, actor).await,
        }
    });
    running.await.unwrap_or_else(|_| Err(Fault::new(Kind::Internal, "an internal error; the log has more")))
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::SageMaker(operation) => operation.name(),
            Self::CloudWatch(operation) => operation.name(),
        }
    }

    const fn changes(self) -> bool {
        match self {
            Self::SageMaker(operation) => operation.changes(),
            Self::CloudWatch(operation) => operation.changes(),
        }
    }
}

impl Asked {
    fn operation(&self) -> Result<Operation, Fault> {
        let (found, named) = match self {
            Self::Target(target) => {
                let sagemaker = target.strip_prefix(SAGEMAKER_PREFIX).and_then(sagemaker::Operation::named);
                let cloudwatch =
                    target.strip_prefix(CLOUDWATCH_PREFIX).and_then(cloudwatch::Operation::named);
                let found = sagemaker.map(Operation::SageMaker);
                (found.or(cloudwatch.map(Operation::CloudWatch)), target.as_str())
            }
            Self::Call(called) => {
                (cloudwatch::Operation::named(called).map(Operation::CloudWatch), called.as_str())
            }
            Self::Form(form) => {
                let action = form.field("Action").unwrap_or_default();
                (cloudwatch::Operation::named(action).map(Operation::CloudWatch), action)
            }
        };
        found.ok_or_else(|| {
            let shown: String = named.chars().take(100).collect();
            Fault::new(Kind::UnknownOperation, format!("there is no operation {shown} here"))
        })
    }

    fn document(&self, operation: Operation, body: &[u8]) -> Result<Value, Fault> {
        match (self, operation) {
            (Self::Form(form), Operation::CloudWatch(operation)) => form.document(operation.members()),
            (Self::Call(_), _) => cbor::read(body),
            (Self::Form(_) | Self::Target(_), _) => {
                let document = if body.is_empty() { b"{}" } else { body };
                serde_json::from_slice(document).map_err(|error| {
                    Fault::new(Kind::Serialization, format!("the body is not JSON: {error}"))
                })
            }
        }
    }
}

/// The router bounds the body.
async fn read(request: Request) -> Result<Bytes, Fault> {
    Bytes::from_request(request, &()).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            let limit = crate::admin::layers::BODY_LIMIT_BYTES / 1024;
            Fault::new(Kind::TooLarge, format!("the body is larger than {limit} KiB"))
        } else {
            Fault::new(Kind::Serialization, "the body broke off before its end")
        }
    })
}

/// The signature is of the body as it was sent.
fn unpacked(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Fault> {
    let coding = text(headers, &header::CONTENT_ENCODING).unwrap_or("identity");
    if coding.eq_ignore_ascii_case("identity") {
        return Ok(body.clone());
    }
    if !coding.eq_ignore_ascii_case("gzip") {
        return Err(Fault::new(Kind::Serialization, "the content-encoding can only be gzip"));
    }
    let mut unpacked = Vec::new();
    let read =
        flate2::read::GzDecoder::new(body.as_ref()).take(UNPACKED_LIMIT_BYTES + 1).read_to_end(&mut unpacked);
    match read {
        Ok(length) if length as u64 <= UNPACKED_LIMIT_BYTES => Ok(unpacked.into()),
        Ok(_) => {
            let limit = UNPACKED_LIMIT_BYTES / 1024;
            Err(Fault::new(
                Kind::TooLarge,
                format!("the body is larger than {limit} KiB once it is unpacked"),
            ))
        }
        Err(_) => Err(Fault::new(Kind::Serialization, "the body is not what gzip makes")),
    }
}

fn dialect(headers: &HeaderMap, path: &str) -> Dialect {
    if path != "/" {
        return Dialect::Cbor;
    }
    let target = text(headers, &TARGET);
    let is_form = text(headers, &header::CONTENT_TYPE)
        .and_then(|given| given.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    match target {
        Some(target) if target.starts_with(CLOUDWATCH_PREFIX) => Dialect::Json10,
        None if is_form => Dialect::Query,
        Some(_) | None => Dialect::Json11,
    }
}

/// The operation that a path of Smithy's RPC v2 names: `/service/GraniteServiceVersion20100801/operation/DescribeAlarms`.
fn called(parts: &Parts) -> Result<String, Fault> {
    if text(&parts.headers, &SMITHY_PROTOCOL) != Some(RPC_V2_CBOR) {
        return Err(Fault::new(Kind::UnknownOperation, format!("smithy-protocol must be {RPC_V2_CBOR}")));
    }
    let rest = parts.uri.path().strip_prefix("/service/").unwrap_or_default();
    let (service, operation) = rest.split_once("/operation/").unwrap_or_default();
    // What stands before a dot is the service's namespace.
    if service.rsplit('.').next() == CLOUDWATCH_PREFIX.strip_suffix('.') {
        return Ok(operation.to_owned());
    }
    let shown: String = service.chars().take(100).collect();
    Err(Fault::new(Kind::UnknownOperation, format!("there is no service {shown} here that speaks CBOR")))
}

/// What stands in the scope of a signature.
const fn service(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Json10 | Dialect::Query | Dialect::Cbor => "monitoring",
        Dialect::Json11 => "sagemaker",
    }
}

fn asked(dialect: Dialect, parts: &Parts, body: &[u8]) -> Result<Asked, Fault> {
    if dialect == Dialect::Query {
        return Form::read(body).map(|form| Asked::Form(Box::new(form)));
    }
    if dialect == Dialect::Cbor {
        return called(parts).map(Asked::Call);
    }
    text(&parts.headers, &TARGET).map(|target| Asked::Target(target.to_owned())).ok_or_else(|| {
        let message = "the header x-amz-target names no operation, such as SageMaker.DescribeEndpoint";
        Fault::new(Kind::UnknownOperation, message)
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
