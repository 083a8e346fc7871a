//! Bytes from and to a server: [`Stream`].

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One connection, open or encrypted.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Tries one address after the other, each for at most `each`.
    pub(crate) async fn connect(addresses: &[SocketAddr], each: Duration) -> io::Result<Self> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no usable address");
        for address in addresses {
            match tokio::time::timeout(each, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(Self::Plain(stream));
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }

    /// The same connection, encrypted, to a server that has shown a certificate of `name`.
    pub(crate) async fn encrypt(
        self,
        connector: &TlsConnector,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        match self {
            Self::Plain(stream) => {
                let stream = connector.connect(name, stream).await?;
                Ok(Self::Tls(Box::new(stream)))
            }
            Self::Tls(_) => Ok(self),
        }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// This end.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.local_addr(),
            Self::Tls(stream) => stream.get_ref().0.local_addr(),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Appends what comes next, at least one byte.
    pub(crate) async fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let mut chunk = [0; 1024];
        let count = match self {
            Self::Plain(stream) => stream.read(&mut chunk).await?,
            Self::Tls(stream) => stream.read(&mut chunk).await?,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend(chunk.iter().take(count));
        Ok(())
    }
}
