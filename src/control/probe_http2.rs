//! The health checks of instances that speak HTTP/2: a GET, or a question to gRPC's health service.
//!
//! The messages of grpc.health.v1 have one field each, so they are written and read by hand:
//! <https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto>.

use bytes::Bytes;
use h2::{RecvStream, client};
use http::{HeaderMap, Request, Response, request};

use crate::net::Stream;

/// An answer of the health service has seven bytes.
const ANSWER_LIMIT_BYTES: usize = 4096;

/// Asks for a path and wants 2xx.
pub(super) async fn get(stream: Stream, request: request::Builder, path: &str) -> Result<(), String> {
    let request =
        request.body(()).map_err(|error| format!("the path {path:?} cannot be asked for: {error}"))?;
    let failed = |error: h2::Error| format!("GET {path} got no answer over HTTP/2: {error}");
    let asked = async |requests| Ok(ask(requests, request, Bytes::new()).await?.status());
    let status = with_connection(stream, asked).await.map_err(failed)?;
    if status.is_success() { Ok(()) } else { Err(format!("GET {path} answered {}", status.as_u16())) }
}

/// Asks the health service about a service and wants SERVING.
pub(super) async fn grpc(stream: Stream, request: request::Builder, service: &str) -> Result<(), String> {
    let request = request.header("content-type", "application/grpc").header("te", "trailers").body(());
    let request = request.map_err(|error| format!("the health service cannot be asked: {error}"))?;
    let body = question(service).ok_or("the service's name is too long")?;
    let failed = |error: h2::Error| format!("the gRPC health service gave no answer: {error}");
    let asked = async |requests| {
        let (head, mut body) = ask(requests, request, body).await?.into_parts();
        let answer = read(&mut body).await?;
        let trailers = body.trailers().await?.unwrap_or_default();
        Ok((head.status, head.headers, answer, trailers))
    };
    let (status, headers, answer, trailers) = with_connection(stream, asked).await.map_err(failed)?;
    if !status.is_success() {
        return Err(format!("the gRPC health service answered HTTP status {}", status.as_u16()));
    }
    match (grpc_status(&trailers).or_else(|| grpc_status(&headers)), meaning(&answer)) {
        (Some("0"), Some(1)) => Ok(()),
        (Some("0"), Some(2)) => Err("the gRPC health service answered NOT_SERVING".to_owned()),
        (Some("0"), Some(status)) => Err(format!("the gRPC health service answered with status {status}")),
        (Some("0"), None) => Err("the gRPC health service's answer is not a HealthCheckResponse".to_owned()),
        (Some("5"), _) => Err("the gRPC health service does not know the service".to_owned()),
        (Some("12"), _) => Err("the instance has no gRPC health service".to_owned()),
        (Some(code), _) => {
            let shown: String = code.chars().take(20).collect();
            Err(format!("the gRPC health service answered with code {shown}"))
        }
        (None, _) => Err("the answer is not gRPC".to_owned()),
    }
}

/// Drives a connection for as long as it takes to ask.
async fn with_connection<T>(
    stream: Stream,
    asked: impl AsyncFnOnce(client::SendRequest<Bytes>) -> Result<T, h2::Error>,
) -> Result<T, h2::Error> {
    let (requests, connection) = client::Builder::new().enable_push(false).handshake(stream).await?;
    let answer = asked(requests);
    tokio::pin!(answer, connection);
    // The connection must be driven for the answer to come; it may end before the answer is taken.
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    }
}

async fn ask(
    mut requests: client::SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Response<RecvStream>, h2::Error> {
    let (response, mut stream) = requests.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body, true)?;
    }
    response.await
}

/// The body, up to the limit.
async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut text = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len())?;
        if text.len() + bytes.len() > ANSWER_LIMIT_BYTES {
            break;
        }
        text.extend_from_slice(&bytes);
    }
    Ok(text)
}

fn grpc_status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}

/// A HealthCheckRequest, of which the service is field 1, as a gRPC message: a flag, the length, the bytes.
fn question(service: &str) -> Option<Bytes> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).ok()? | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).ok()?);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).ok()?;
    Some([&[0], &length.to_be_bytes()[..], &message].concat().into())
}

/// The status of a HealthCheckResponse, which is field 1 and left out when it is 0.
fn meaning(answer: &[u8]) -> Option<u8> {
    let [0, 0, 0, 0, length, message @ ..] = answer else { return None };
    match message {
        _ if message.len() != usize::from(*length) => None,
        [] => Some(0),
        [0x08, status] if *status < 0x80 => Some(*status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_message_with_the_services_name() {
        assert_eq!(question("").unwrap(), &[0, 0, 0, 0, 0][..]);
        assert_eq!(question("a.B").unwrap(), &b"\0\0\0\0\x05\x0a\x03a.B"[..]);
        let long = question(&"x".repeat(200)).unwrap();
        assert_eq!(&long[..8], b"\0\0\0\0\xcb\x0a\xc8\x01");
    }

    #[test]
    fn an_answer_has_one_field_and_anything_else_is_none() {
        assert_eq!(meaning(b"\0\0\0\0\x02\x08\x01"), Some(1));
        assert_eq!(meaning(b"\0\0\0\0\x00"), Some(0));
        for bad in [
            &b""[..],
            b"\0\0\0\0",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x03\x08\x01",
            b"\0\0\0\0\x02\x10\x01",
        ] {
            assert_eq!(meaning(bad), None, "{bad:?}");
        }
    }
}
