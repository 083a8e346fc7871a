//! A flow behind axum on loopback, and the one connection that asks it.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use password_reset::ResetFlow;
use password_reset_web::{Forwarding, Proxies, ResetWeb};
use tokio::runtime::Runtime;

pub struct Connection {
    stream: TcpStream,
    /// What is asked for: `link` or `code`.
    method: &'static str,
    answer: Vec<u8>,
}

impl Connection {
    /// Serves on this runtime until it ends. The server believes what the connection says of its
    /// address, as behind one proxy: every request has a client of its own.
    pub fn open(flow: ResetFlow, method: &'static str, serving: &Runtime) -> Self {
        let web = ResetWeb::builder(flow).proxies(Proxies::count(1, Forwarding::XForwardedFor));
        let router = password_reset_web::axum::router(web.build().unwrap());
        let address = serving.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address: SocketAddr = listener.local_addr().unwrap();
            tokio::spawn(async { axum::serve(listener, router).await });
            address
        });
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            method,
            answer: vec![0; 16 * 1024],
        }
    }

    /// From the first byte out to the last byte in.
    pub fn ask(&mut self, identifier: &str, client: u32) -> Duration {
        let identifier = identifier.replace('@', "%40");
        let body = format!("identifier={identifier}&method={}", self.method);
        let request = format!(
            "POST /forgot-password HTTP/1.1\r\nHost: app.example.org\r\n\
             X-Forwarded-For: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            Ipv4Addr::from(client),
            body.len()
        );
        let start = Instant::now();
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut length = 0;
        // The answer is a redirect, so nothing follows its header.
        while !self.answer[..length].ends_with(b"\r\n\r\n") {
            let read = self.stream.read(&mut self.answer[length..]).unwrap();
            assert!(read > 0, "the server hung up");
            length += read;
        }
        let taken = start.elapsed();
        assert!(self.answer.starts_with(b"HTTP/1.1 303 "));
        taken
    }
}
