//! A connection's bytes, whatever carries them.
//!
//! An enum and not a type parameter: the parameter would be in every signature from the accept to the last byte and compile the
//! whole path once for each kind. The plain variant costs one predictable branch in front of a system call.

use std::{
    fmt, io,
    mem::MaybeUninit,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::TlsStream;

/// Bytes that the kernel takes of what the other end has no room for (TCP_NOTSENT_LOWAT, tcp(7)). Linux would take up to 4 MiB for
/// whoever does not read (`net.ipv4.tcp_wmem`): 300 such clients held 726 MB. What is on its way to somebody who reads is not counted, so a
/// far client gets as much as before. Big bodies take more turns of the proxy with it, since the kernel asks for more when half is
/// left: bodies of 1 MiB cost nothing, one of 64 MiB by itself a quarter more CPU time (`benches/README.md`). What would spare that, 2 MiB,
/// is what a client that does not read takes anyway.
pub(super) const UNSENT_BYTES: u32 = 512 * 1024;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// An internet address.
    Internet(SocketAddr),
    /// A process of this machine, through a Unix-domain socket.
    Local,
}

/// A connection without TLS.
#[derive(Debug)]
pub enum Plain {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
}

/// A connection without TLS that belongs to no runtime, on its way from one to another.
#[derive(Debug)]
pub enum Parked {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// A Unix-domain socket.
    Unix(std::os::unix::net::UnixStream),
}

/// A connection, with TLS or without.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as they are.
    Plain(Plain),
    /// TLS, of either side. Boxed, since it is many times the size of a socket.
    Tls(Box<TlsStream<Plain>>),
}

impl Stream {
    /// The certificate, in DER, that the other end showed and the handshake has verified; `None` without TLS, or when it showed none.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => {
                let (_, connection) = stream.get_ref();
                connection.peer_certificates()?.first().map(|certificate| certificate.as_ref())
            }
        }
    }
}

impl Plain {
    /// Connects to the path of a Unix-domain socket.
    pub async fn connect_unix(path: &std::path::Path) -> io::Result<Self> {
        UnixStream::connect(path).await.map(Self::Unix)
    }

    /// Connects to an internet address. What is written goes out at once.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        Ok(Self::Tcp(stream))
    }

    /// Leaves the current runtime.
    pub fn park(self) -> io::Result<Parked> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Parked::Tcp),
            Self::Unix(stream) => stream.into_std().map(Parked::Unix),
        }
    }

    /// Enters the current runtime.
    pub fn unpark(parked: Parked) -> io::Result<Self> {
        match parked {
            Parked::Tcp(stream) => TcpStream::from_std(stream).map(Self::Tcp),
            Parked::Unix(stream) => UnixStream::from_std(stream).map(Self::Unix),
        }
    }

    /// Sends small parts at once, where the kernel would hold them back.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            Self::Unix(_) => Ok(()),
        }
    }
}

/// What a connection holds that was not read yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ahead {
    /// The other end sent something.
    Bytes,
    /// The other end has closed its side.
    End,
    /// The connection is broken.
    Broken,
}

impl Plain {
    /// Waits until there is something to read, or the end, and takes nothing. Without a system call as long as nothing happens.
    fn poll_ahead(&self, context: &mut Context<'_>) -> Poll<Ahead> {
        let peek = |socket: SockRef<'_>| socket.peek(&mut [MaybeUninit::uninit()]);
        loop {
            let peeked = match self {
                Self::Tcp(stream) => ready!(stream.poll_read_ready(context))
                    .and_then(|()| stream.try_io(Interest::READABLE, || peek(SockRef::from(stream)))),
                Self::Unix(stream) => ready!(stream.poll_read_ready(context))
                    .and_then(|()| stream.try_io(Interest::READABLE, || peek(SockRef::from(stream)))),
            };
            match peeked {
                Ok(1..) => return Poll::Ready(Ahead::Bytes),
                // The runtime has learnt that it was wrong, and the next question waits.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Ahead::End),
                Err(_) => return Poll::Ready(Ahead::Broken),
            }
        }
    }
}

impl Stream {
    /// Waits until there is something to read, or the end, and takes nothing. Without a system call as long as nothing happens.
    pub fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<Ahead> {
        match self {
            Self::Plain(plain) => plain.poll_ahead(context),
            // What the socket holds need not be the client's bytes, so it is deciphered, into the connection's own buffer.
            Self::Tls(tls) => Poll::Ready(match ready!(Pin::new(tls).poll_fill_buf(context)) {
                Ok([]) => Ahead::End,
                Ok(_) => Ahead::Bytes,
                Err(_) => Ahead::Broken,
            }),
        }
    }

    /// Makes closing a reset. A Unix-domain socket has none: its reader sees an end.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        let plain = match self {
            Self::Plain(plain) => plain,
            Self::Tls(tls) => tls.get_ref().0,
        };
        match plain {
            Plain::Tcp(stream) => stream.set_zero_linger(),
            Plain::Unix(_) => Ok(()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(address) => address.fmt(f),
            Self::Local => f.write_str("a local process"),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(Plain::Tcp(stream))
    }
}

/// Calls the same method on whichever stream is there.
macro_rules! delegate {
    ($self:expr, $enum:ident [$($variant:ident)*], $stream:ident => $call:expr) => {
        match $self { $($enum::$variant($stream) => $call),* }
    };
}

macro_rules! stream {
    ($enum:ident $variants:tt) => {
        impl AsyncRead for $enum {
            fn poll_read(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                delegate!(&mut *self, $enum $variants, stream => Pin::new(stream).poll_read(context, buffer))
            }
        }

        impl AsyncWrite for $enum {
            fn poll_write(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                delegate!(&mut *self, $enum $variants, stream => Pin::new(stream).poll_write(context, bytes))
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                delegate!(
                    &mut *self, $enum $variants, stream => Pin::new(stream).poll_write_vectored(context, slices)
                )
            }

            fn is_write_vectored(&self) -> bool {
                delegate!(self, $enum $variants, stream => stream.is_write_vectored())
            }

            fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                delegate!(&mut *self, $enum $variants, stream => Pin::new(stream).poll_flush(context))
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                delegate!(&mut *self, $enum $variants, stream => Pin::new(stream).poll_shutdown(context))
            }
        }
    };
}

stream!(Plain [Tcp Unix]);
stream!(Stream [Plain Tls]);
