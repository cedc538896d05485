//! A connection's bytes, whatever carries them: one type, so that hyper is compiled once.

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

/// What every HTTP/2 connection starts with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is read, and for how long, of a client that is still sending when it has its last answer. A
/// socket that is closed with bytes unread takes back the answer that is on its way.
const LINGER: (usize, Duration) = (1 << 20, Duration::from_millis(250));

/// The versions of HTTP that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http {
    One,
    Two,
}

/// Bytes in and out.
pub(super) struct Stream {
    /// What was read to see who is there, and is read again.
    head: Bytes,
    carrier: Carrier,
    /// The client has said that nothing more will come.
    ended: bool,
    leaving: Option<Leaving>,
}

/// Nothing more is said; what is heard is thrown away.
struct Leaving {
    bytes: usize,
    time: Pin<Box<Sleep>>,
}

enum Carrier {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Stream>>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::over(Carrier::Tcp(stream))
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Stream {
        Stream::over(Carrier::Unix(stream))
    }
}

impl From<TlsStream<Stream>> for Stream {
    fn from(stream: TlsStream<Stream>) -> Stream {
        Stream::over(Carrier::Tls(Box::new(stream)))
    }
}

impl Stream {
    fn over(carrier: Carrier) -> Stream {
        Stream { head: Bytes::new(), carrier, ended: false, leaving: None }
    }

    /// Reads until the version of HTTP is known. Nothing is set up for a client that says nothing.
    pub(super) async fn recognise(&mut self) -> io::Result<Http> {
        let (mut head, mut filled) = ([0; PREFACE.len()], 0);
        let http = loop {
            let read = self.read(&mut head[filled..]).await?;
            filled += read;
            if head[..filled] != PREFACE[..filled] {
                break Http::One;
            }
            if filled == PREFACE.len() {
                break Http::Two;
            }
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        self.head = Bytes::copy_from_slice(&head[..filled]);
        Ok(http)
    }
}

/// Hands a call on to what carries the bytes.
macro_rules! on {
    ($self:ident, $carrier:ident => $call:expr) => {
        match &mut $self.carrier {
            Carrier::Tcp(stream) => {
                let $carrier = Pin::new(stream);
                $call
            }
            Carrier::Unix(stream) => {
                let $carrier = Pin::new(stream);
                $call
            }
            Carrier::Tls(stream) => {
                let $carrier = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.head.is_empty() {
            let n = self.head.len().min(buf.remaining());
            buf.put_slice(&self.head[..n]);
            self.head.advance(n);
            return Poll::Ready(Ok(()));
        }
        let (before, room) = (buf.filled().len(), buf.remaining());
        let this = &mut *self;
        ready!(on!(this, carrier => carrier.poll_read(cx, buf)))?;
        this.ended |= room > 0 && buf.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on!(self, carrier => carrier.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on!(self, carrier => carrier.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.leaving.is_none() {
            ready!(on!(this, carrier => carrier.poll_shutdown(cx)))?;
            // TLS has closed what it is carried by, which has lingered.
            if this.ended || matches!(this.carrier, Carrier::Tls(_)) {
                return Poll::Ready(Ok(()));
            }
        }
        let (bytes, time) = LINGER;
        let leaving =
            this.leaving.get_or_insert_with(|| Leaving { bytes, time: Box::pin(sleep(time)) });
        let mut scratch = [MaybeUninit::uninit(); 4096];
        while leaving.bytes > 0 && leaving.time.as_mut().poll(cx).is_pending() {
            let mut read = ReadBuf::uninit(&mut scratch);
            let heard = ready!(on!(this, carrier => carrier.poll_read(cx, &mut read)));
            // Whether it hung up or broke, it has gone.
            if heard.is_err() || read.filled().is_empty() {
                break;
            }
            leaving.bytes = leaving.bytes.saturating_sub(read.filled().len());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on!(self, carrier => carrier.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.carrier {
            Carrier::Tcp(stream) => stream.is_write_vectored(),
            Carrier::Unix(stream) => stream.is_write_vectored(),
            Carrier::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn told(parts: &[&[u8]]) -> (Option<Http>, Vec<u8>) {
        let (mut client, server) = UnixStream::pair().unwrap();
        let serve = tokio::spawn(async {
            let mut stream = Stream::from(server);
            (stream.recognise().await.ok(), stream)
        });
        for part in parts {
            client.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(client);
        let (http, mut stream) = serve.await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        (http, all)
    }

    #[tokio::test]
    async fn the_version_is_told_from_the_first_bytes_and_none_is_lost() {
        let get = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(told(&[get]).await, (Some(Http::One), get.to_vec()));
        // The same letter first, in pieces.
        assert_eq!(told(&[b"P", b"OST"]).await, (Some(Http::One), b"POST".to_vec()));
        let two = [&PREFACE[..], b"and more"].concat();
        assert_eq!(told(&[&two[..7], &two[7..]]).await, (Some(Http::Two), two));
        assert_eq!(told(&[]).await.0, None);
        assert_eq!(told(&[&PREFACE[..5]]).await.0, None);
    }
}
