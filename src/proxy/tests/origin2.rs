//! A model server that speaks HTTP/2, made of the h2 crate, with what a test wants to know about its connections.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{RecvStream, SendStream, server};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};

/// A request, and the means to answer it.
pub(super) struct Asked {
    pub(super) request: Request<RecvStream>,
    pub(super) respond: server::SendResponse<Bytes>,
    /// Which of the origin's requests it is, from 1.
    pub(super) number: usize,
}

impl Asked {
    /// The rest of the body, and its trailers.
    pub(super) async fn read(&mut self) -> (Vec<u8>, Option<HeaderMap>) {
        let body = self.request.body_mut();
        let mut text = Vec::new();
        while let Some(bytes) = body.data().await {
            let bytes = bytes.unwrap();
            body.flow_control().release_capacity(bytes.len()).unwrap();
            text.extend_from_slice(&bytes);
        }
        (text, body.trailers().await.unwrap())
    }

    /// Answers with a head, after which the body is to come.
    pub(super) fn begin(&mut self, response: Response<()>) -> SendStream<Bytes> {
        self.respond.send_response(response, false).unwrap()
    }

    /// Answers with 200 and this body.
    pub(super) fn answer(&mut self, text: impl Into<Bytes>) {
        self.begin(Response::new(())).send_data(text.into(), true).unwrap();
    }
}

/// An origin on a thread of its own.
pub(super) struct Origin2 {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Origin2 {
    /// An origin that calls `answer` with every request.
    pub(super) fn new<F: Future<Output = ()> + 'static>(
        answer: impl Fn(Asked) -> F + Clone + Send + 'static,
    ) -> Self {
        Self::with(server::Builder::new(), answer)
    }

    /// An origin whose connections have these settings.
    pub(super) fn with<F: Future<Output = ()> + 'static>(
        builder: server::Builder,
        answer: impl Fn(Asked) -> F + Clone + Send + 'static,
    ) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let origin = Self::raw(move |stream, _| {
            let (answer, builder, count) = (answer.clone(), builder.clone(), Arc::clone(&count));
            async move {
                let Ok(mut requests) = builder.handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = requests.accept().await {
                    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                    tokio::task::spawn_local(answer(Asked { request, respond, number }));
                }
            }
        });
        Self { requests, ..origin }
    }

    /// An origin that does with a connection what it likes.
    pub(super) fn raw<F: Future<Output = ()> + 'static>(
        serve: impl Fn(TcpStream, usize) -> F + Send + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                    tokio::task::spawn_local(serve(stream, number));
                }
            });
        });
        Self { address, connections, requests: Arc::default() }
    }

    /// How many connections were made.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many requests came.
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}
