//! The smallest server around `ResetWeb::respond` and `ResetWeb::refuse`, as their documentation
//! asks for it: what an application writes whose framework has no glue here.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use password_reset::testing::block_on;
use password_reset_web::bytes::Bytes;
use password_reset_web::http::request::Parts;
use password_reset_web::http::{HeaderMap, Method, Request, Response};
use password_reset_web::{MAX_BODY_BYTES, Problem, ResetWeb};

use crate::server::Server;

pub(crate) fn serve(web: ResetWeb, nested: Option<&'static str>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopped);
    thread::spawn(move || {
        for stream in listener.incoming() {
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            let web = web.clone();
            thread::spawn(move || answer(&web, nested, stream.unwrap()));
        }
    });
    Server::new(address, move || {
        stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(address);
    })
}

/// One request, one answer, one connection.
fn answer(web: &ResetWeb, nested: Option<&str>, mut stream: TcpStream) -> io::Result<()> {
    let peer = stream.peer_addr()?.ip();
    let mut reader = BufReader::new(Patient {
        stream: stream.try_clone()?,
        until: None,
    });
    let Some(parts) = head(&mut reader, nested)? else {
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    };
    let is_head = parts.method == Method::HEAD;
    reader.get_mut().until = Some(Instant::now() + web.body_timeout());
    let response = match body(&mut reader, &parts.headers) {
        Ok(body) => block_on(web.respond(Request::from_parts(parts, body), Some(peer))),
        Err(problem) => web.refuse(&parts, &problem),
    };
    write(&mut stream, &response, is_head)
}

/// Reads until a moment, however little comes at a time: a timeout for each read alone would begin
/// anew with every byte.
struct Patient {
    stream: TcpStream,
    until: Option<Instant>,
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(until) = self.until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
        }
        self.stream.read(buffer)
    }
}

fn head(reader: &mut impl BufRead, nested: Option<&str>) -> io::Result<Option<Parts>> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        let line = line.trim_ascii().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let first = String::from_utf8_lossy(lines.first().map_or(&[], Vec::as_slice)).into_owned();
    let mut words = first.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let target = nested
        .and_then(|path| target.strip_prefix(path))
        .unwrap_or(target);
    let mut request = Request::builder()
        .method(method.unwrap_or_default())
        .uri(target);
    for line in lines.iter().skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Ok(None);
        };
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Ok(request.body(()).ok().map(|request| request.into_parts().0))
}

/// At most [`MAX_BODY_BYTES`], and to the end even of what is longer: closing the connection on a
/// client that still sends would take the answer away from it.
fn body(reader: &mut impl BufRead, headers: &HeaderMap) -> Result<Vec<u8>, Problem> {
    let length = headers.get("content-length");
    let length = length.map(|length| length.to_str().ok()?.parse().ok());
    let length: Option<u64> = length.map_or(Some(0), |length| length);
    let mut kept = Vec::new();
    let mut seen = 0;
    let mut take = |reader: &mut dyn BufRead, length: u64| {
        let mut piece = Vec::new();
        reader
            .take(length)
            .read_to_end(&mut piece)
            .map_err(refused)?;
        if piece.len() as u64 != length {
            return Err(Problem::Malformed);
        }
        seen += piece.len();
        if seen <= MAX_BODY_BYTES {
            kept.extend(&piece);
        }
        Ok::<_, Problem>(())
    };
    if headers.contains_key("transfer-encoding") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).map_err(refused)?;
            let length = u64::from_str_radix(line.trim(), 16).map_err(|_| Problem::Malformed)?;
            take(reader, length)?;
            reader.read_line(&mut line).map_err(refused)?;
            if length == 0 {
                break;
            }
        }
    } else {
        take(reader, length.ok_or(Problem::Malformed)?)?;
    }
    if seen > MAX_BODY_BYTES {
        return Err(Problem::TooLarge);
    }
    Ok(kept)
}

fn refused(error: io::Error) -> Problem {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Problem::Timeout,
        _ => Problem::Malformed,
    }
}

fn write(stream: &mut TcpStream, response: &Response<Bytes>, is_head: bool) -> io::Result<()> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend(name.as_str().as_bytes());
        bytes.extend(b": ");
        bytes.extend(value.as_bytes());
        bytes.extend(b"\r\n");
    }
    let length = response.body().len();
    bytes.extend(format!("content-length: {length}\r\nconnection: close\r\n\r\n").as_bytes());
    if !is_head {
        bytes.extend(response.body());
    }
    stream.write_all(&bytes)
}
