//! Servers on a free port of this machine, in this process: [`Front`].

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use password_reset_web::ResetWeb;

/// What stands between the network and the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Front {
    Axum,
    Actix,
    /// A server that knows `ResetWeb::respond` and `ResetWeb::refuse` only.
    Bare,
}

impl Front {
    /// Serves the pages, nested under a path if there is one.
    pub(crate) fn serve(self, web: ResetWeb, nested: Option<&'static str>) -> Server {
        match self {
            Self::Axum => axum(web, nested),
            Self::Actix => actix(web, nested),
            Self::Bare => crate::bare::serve(web, nested),
        }
    }
}

/// Serves until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<Box<dyn FnOnce() + Send>>,
}

impl Server {
    pub(crate) fn new(address: SocketAddr, stop: impl FnOnce() + Send + 'static) -> Self {
        Self {
            address,
            stop: Some(Box::new(stop)),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop();
        }
    }
}

fn axum(web: ResetWeb, nested: Option<&str>) -> Server {
    let pages = password_reset_web::axum::router(web);
    let app = match nested {
        Some(path) => axum::Router::new().nest(path, pages),
        None => pages,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    runtime.spawn(async move { axum::serve(listener, app).await });
    Server::new(address, || runtime.shutdown_background())
}

fn actix(web: ResetWeb, nested: Option<&'static str>) -> Server {
    use actix_web::{App, HttpServer};
    use password_reset_web::actix::configure;

    let (told, started) = mpsc::channel();
    let thread = thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let app = move || {
                let pages = configure(web.clone());
                match nested {
                    Some(path) => App::new().service(actix_web::web::scope(path).configure(pages)),
                    None => App::new().configure(pages),
                }
            };
            let server = HttpServer::new(app).workers(1).disable_signals();
            let server = server.bind("127.0.0.1:0").unwrap();
            let address = server.addrs()[0];
            let server = server.run();
            told.send((address, server.handle())).unwrap();
            server.await.unwrap();
        });
    });
    let (address, handle) = started.recv().unwrap();
    Server::new(address, move || {
        // The command is on its way when the call returns; what the future waits for is its end.
        drop(handle.stop(false));
        let _ = thread.join();
    })
}
