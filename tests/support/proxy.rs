//! A network between a backend and its server that a test can break: [`Proxy`]. For every adapter.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Pass,
    /// Connections are cut, new ones refused.
    Refuse,
    /// Connections stay open and nothing comes through, as behind a broken network.
    Silent,
}

/// Stands between a backend and the real server.
pub(crate) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// In front of the server at `server`, such as `127.0.0.1:6379`.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        tokio::spawn(listen(listener, address, server.to_owned(), modes));
        Self { address, mode }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The listener follows in a moment.
    pub(crate) async fn switch(&self, mode: Mode) {
        self.mode.send(mode).unwrap();
        loop {
            let accepts = TcpStream::connect(self.address).await.is_ok();
            if accepts == (mode != Mode::Refuse) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn listen(
    mut listener: TcpListener,
    address: SocketAddr,
    server: String,
    mut modes: watch::Receiver<Mode>,
) {
    loop {
        tokio::select! {
            client = listener.accept() => {
                let (client, _) = client.unwrap();
                tokio::spawn(carry(client, server.clone(), modes.clone()));
            }
            changed = modes.changed() => {
                if changed.is_err() {
                    return;
                }
                if *modes.borrow() == Mode::Refuse {
                    drop(listener);
                    if modes.wait_for(|mode| *mode != Mode::Refuse).await.is_err() {
                        return;
                    }
                    listener = TcpListener::bind(address).await.unwrap();
                }
            }
        }
    }
}

async fn carry(mut client: TcpStream, server: String, mut modes: watch::Receiver<Mode>) {
    let silent = modes.wait_for(|mode| *mode == Mode::Silent);
    if tokio::time::timeout(Duration::ZERO, silent).await.is_ok() {
        // It stays silent also when the network is well again.
        return pending().await;
    }
    let Ok(mut server) = TcpStream::connect(server).await else {
        return;
    };
    let silent = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => false,
        mode = modes.wait_for(|mode| *mode != Mode::Pass) => mode.is_ok_and(|m| *m == Mode::Silent),
    };
    if silent {
        pending().await
    }
}
