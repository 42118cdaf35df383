//! Kept-alive HTTP/1.1 connections to one address: what the demo's clients and its operator send their requests over.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

/// Longer than any answer of a healthy fleet by far; a request that takes this long has failed for its user.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that was idle for so long is not used again, so that it is never the server that closes first.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// The largest answer: two hundred times the largest one of the demo's models.
const BODY_LIMIT_BYTES: usize = 1 << 20;

type Sender = http1::SendRequest<Full<Bytes>>;

/// Idle connections, the last used on top.
#[derive(Debug)]
pub(super) struct Connections {
    address: SocketAddr,
    host: HeaderValue,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

/// A whole answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    #[error("the connection broke: {0}")]
    Connection(#[from] hyper::Error),
    #[error("the answer broke off: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer is longer than {BODY_LIMIT_BYTES} bytes")]
    TooLong,
    #[error("no whole answer within {} s", PATIENCE.as_secs())]
    Late,
}

impl Connections {
    pub(super) fn to(address: SocketAddr) -> Self {
        let host = HeaderValue::from_str(&address.to_string()).expect("an address is visible ASCII");
        Self { address, host, idle: Mutex::default() }
    }

    /// Sends a request and reads its answer to the last byte.
    pub(super) async fn ask(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, Broken> {
        request.headers_mut().insert(HOST, self.host.clone());
        let whole = async {
            let (sender, response) = self.send(request).await?;
            let (head, body) = response.into_parts();
            let body = collect(body).await?;
            if sender.is_ready() {
                self.idle.lock().expect("no holder of this lock panics").push((sender, Instant::now()));
            }
            Ok(Answer { status: head.status, body })
        };
        tokio::time::timeout(PATIENCE, whole).await.map_err(|_| Broken::Late)?
    }

    /// Over an idle connection if there is one. Only a request of which nothing was written goes to a new one: sending twice would
    /// hide what the demo is here to show.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(Sender, Response<Incoming>), Broken> {
        let request = match self.take_idle() {
            None => request,
            Some(mut sender) => match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => unsent,
                    None => return Err(error.into_error().into()),
                },
            },
        };
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await?;
        Ok((sender, response))
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        idle.retain(|(sender, since)| !sender.is_closed() && since.elapsed() < IDLE_LIMIT);
        idle.pop().map(|(sender, _)| sender)
    }

    async fn connect(&self) -> Result<Sender, Broken> {
        let socket = TcpStream::connect(self.address).await.map_err(Broken::Connect)?;
        socket.set_nodelay(true).map_err(Broken::Connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        // Ends by itself when its sender is dropped or the other side closes; its error reaches the request that it carries.
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn collect(body: Incoming) -> Result<Bytes, Broken> {
    match Limited::new(body, BODY_LIMIT_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Broken::TooLong),
        Err(error) => Err(Broken::Body(error)),
    }
}
