//! Bodies that never come to their end, or not in time.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::client::FORM;
use crate::server::Front;
use crate::world::{ASK, Setup, World};

suite!(
    a_body_that_does_not_arrive_is_waited_for_in_vain,
    w26_a_body_that_drips_gets_no_more_time_than_another,
    a_body_that_ends_too_early_changes_nothing,
);

/// A request whose body never comes to its end.
fn stalled(world: &World, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.browser().address).unwrap();
    let head = format!(
        "POST {ASK} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {FORM}\r\n\
         Content-Length: 28\r\n{more}\r\nidentifier=ada"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn a_body_that_does_not_arrive_is_waited_for_in_vain(front: Front) {
    let short = Duration::from_millis(200);
    let world = Setup::default()
        .web(move |web| web.body_timeout(short))
        .start(front);
    for (accept, words) in [
        ("", "The form did not arrive in time."),
        ("Accept: application/json\r\n", "\"code\":\"timeout\""),
    ] {
        let mut answer = String::new();
        stalled(&world, accept).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(words), "{answer}");
    }
    world.work();
    assert_eq!(world.users.calls().find, 0);
}

/// Every byte comes well within the time for the whole body: what counts is the whole.
fn w26_a_body_that_drips_gets_no_more_time_than_another(front: Front) {
    let short = Duration::from_millis(400);
    let world = Setup::default()
        .web(move |web| web.body_timeout(short))
        .start(front);
    let body = format!("identifier={}", "a".repeat(200));
    let mut stream = TcpStream::connect(world.browser().address).unwrap();
    let head = format!(
        "POST {ASK} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {FORM}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(short / 4)).unwrap();
    let mut answer = [0; 12];
    for byte in body.as_bytes() {
        // Refused where the answer came just now and the connection is closed.
        let _ = stream.write_all(&[*byte]);
        match stream.read_exact(&mut answer) {
            Ok(()) => break,
            // None yet: the next byte.
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            ),
        }
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    world.work();
    assert_eq!(world.users.calls().find, 0);
}

fn a_body_that_ends_too_early_changes_nothing(front: Front) {
    let world = World::new(front);
    let mut stream = stalled(&world, "");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    // Some servers answer, others hang up.
    let _ = stream.read_to_end(&mut answer);
    let accepted = [&b"HTTP/1.1 2"[..], b"HTTP/1.1 3"];
    assert!(!accepted.iter().any(|start| answer.starts_with(start)));
    world.work();
    assert_eq!(world.users.calls().find, 0);
}
