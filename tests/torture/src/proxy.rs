//! Stands between the demo and its database, and fails as networks do.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const BUFFER: usize = 16 * 1024;

/// A way to one server. It ends with it, and all its connections.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    weather: watch::Sender<Weather>,
    _tasks: JoinSet<()>,
}

/// What happens to connections.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// How often all were cut.
    cuts: u64,
    /// How often each was to be cut in the next answer.
    answer_cuts: u64,
    /// Nothing gets through, and nobody hears why.
    silent: bool,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (weather, _) = watch::channel(Weather::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, server, weather.clone()));
        Ok(Self {
            address,
            weather,
            _tasks: tasks,
        })
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.weather
            .send_modify(|weather| weather.cuts = weather.cuts.wrapping_add(1));
    }

    /// Cuts each connection in the middle of its next answer: the server has done what it was
    /// asked for, and nobody hears of it.
    pub(crate) fn cut_answers(&self) {
        let more =
            |weather: &mut Weather| weather.answer_cuts = weather.answer_cuts.wrapping_add(1);
        self.weather.send_modify(more);
    }

    /// Lets nothing through, or everything again.
    pub(crate) fn silence(&self, silent: bool) {
        self.weather.send_modify(|weather| weather.silent = silent);
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, weather: watch::Sender<Weather>) {
    let weather = Arc::new(weather);
    let mut connections = JoinSet::new();
    loop {
        if let Ok((client, _)) = listener.accept().await {
            connections.spawn(connect(client, server, weather.subscribe()));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, until one side or the weather ends it.
async fn connect(client: TcpStream, server: SocketAddr, weather: watch::Receiver<Weather>) {
    // Without a server the client is refused in its own words: it reads nothing.
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let begun = *weather.borrow();
    let mut cuts = weather.clone();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pass(from_client, to_server, weather.clone(), None) => {}
        () = pass(from_server, to_client, weather, Some(begun.answer_cuts)) => {}
        _ = cuts.wait_for(|weather| weather.cuts != begun.cuts) => {}
    }
}

/// One direction; answers are cut when the weather's count is no longer this one.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    answer_cuts: Option<u64>,
) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let Ok(now) = weather
            .wait_for(|weather| !weather.silent)
            .await
            .map(|now| *now)
        else {
            return;
        };
        let cut = answer_cuts.is_some_and(|known| known != now.answer_cuts);
        let passed = if cut { read / 2 } else { read };
        let bytes = buffer.get(..passed).unwrap_or_default();
        if to.write_all(bytes).await.is_err() || cut {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// A server that says back what it hears.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    /// What comes back for ten bytes until there are ten or the connection ends.
    async fn ask(stream: &mut TcpStream) -> usize {
        stream.write_all(&[7; 10]).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.take(10).read_to_end(&mut answer).await;
        answer.len()
    }

    #[tokio::test]
    async fn it_passes_cuts_and_keeps_silent() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let connect = || TcpStream::connect(proxy.address);
        let mut stream = connect().await.unwrap();
        assert_eq!(ask(&mut stream).await, 10);

        proxy.cut_answers();
        assert_eq!(ask(&mut stream).await, 5);
        let mut stream = connect().await.unwrap();
        assert_eq!(ask(&mut stream).await, 10);

        proxy.cut();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());

        proxy.silence(true);
        let mut stream = connect().await.unwrap();
        let unheard = timeout(Duration::from_millis(200), ask(&mut stream)).await;
        assert!(unheard.is_err());
        proxy.silence(false);
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).await.unwrap();
    }
}
