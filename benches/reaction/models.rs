//! Model servers whose answers are short token streams, until they are told to fail.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{Checked, message};

/// For a connection of each client's at once, and room: a full queue drops the proxy's attempts, which the kernel makes again a second later.
const BACKLOG: u32 = 4096;

/// What a model server says to every request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// A token and the end.
    Tokens,
    /// A 500.
    ServerError,
    /// An error event as the whole stream, under a 200.
    ErrorEvent,
}

/// A model server of this runtime; dropped, it closes its connections and refuses new ones, as one whose process has died.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) address: SocketAddr,
    answer: watch::Sender<Answer>,
}

impl Model {
    pub(crate) fn start() -> Checked<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse()?)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let (answer, answers) = watch::channel(Answer::Tokens);
        tokio::spawn(serve(listener, answers));
        Ok(Self { address, answer })
    }

    /// From now on it says this.
    pub(crate) fn say(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }
}

async fn serve(listener: TcpListener, mut answers: watch::Receiver<Answer>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(answer(stream, answers.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
            still_there = answers.changed() => if still_there.is_err() { return },
        }
    }
}

async fn answer(mut stream: TcpStream, answers: watch::Receiver<Answer>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut length) = ([0; 4096], 0);
    loop {
        match stream.read(&mut buffer[length..]).await? {
            0 => return Ok(()),
            more => length += more,
        }
        if !message::is_whole(&buffer[..length]) {
            continue;
        }
        length = 0;
        let answer = match *answers.borrow() {
            _ if buffer.starts_with(b"GET /health ") => HEALTHY,
            Answer::Tokens => TOKENS,
            Answer::ServerError => SERVER_ERROR,
            Answer::ErrorEvent => ERROR_EVENT,
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

const HEALTHY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

const TOKENS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
    47\r\ndata: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"}}]}\n\n\r\n\
    4c\r\ndata: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\r\n\
    e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

const SERVER_ERROR: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 38\r\n\r\n\
    {\"error\":{\"message\":\"out of memory\"}}\n";

const ERROR_EVENT: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
    2d\r\ndata: {\"error\":{\"message\":\"out of memory\"}}\n\n\r\n\
    e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
