//! Connections are used again, bounded, and never lose a mail.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::server::{Act, At, Server, Tls};
use common::{Means, means, message};
use password_reset::mail::Mailer;

use Act::{HangUp, Say, Silence};

const URL: &str = "smtps://user:password@mail.example.com";

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::new(Tls::Implicit).await;
    let mailer = server.mailer(URL).build().unwrap();
    for _ in 0..3 {
        mailer.send(&message()).await.unwrap();
    }
    assert_eq!((server.mails().len(), server.connections()), (3, 1));
    // Clones share it.
    mailer.clone().send(&message()).await.unwrap();
    assert_eq!((server.mails().len(), server.connections()), (4, 1));
}

#[tokio::test]
async fn a_connection_that_died_meanwhile_loses_no_mail() {
    for (at, act) in [
        // Gone at once, after a while, and with a word.
        (At::Idle, HangUp),
        (At::Rset, HangUp),
        (At::Rset, Say("421 4.4.2 idle for too long")),
        // Says something unasked for.
        (At::End, Say("250 2.0.0 queued\r\n421 4.3.2 bye")),
        (At::Rset, Say("250 OK\r\n250 OK")),
    ] {
        let server = Server::scripted(Tls::Implicit, &[(at, act)]).await;
        let mailer = server.mailer(URL).build().unwrap();
        mailer.send(&message()).await.unwrap();
        mailer.send(&message()).await.unwrap();
        assert_eq!(server.mails().len(), 2, "{at:?} {act:?}");
        assert_eq!(server.connections(), 2, "{at:?} {act:?}");
    }
}

#[tokio::test]
async fn a_connection_that_fell_silent_meanwhile_loses_no_mail() {
    let server = Server::scripted(Tls::None, &[(At::Rset, Silence)]).await;
    let mailer = server
        .local()
        .timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    mailer.send(&message()).await.unwrap();
    mailer.send(&message()).await.unwrap();
    assert_eq!((server.mails().len(), server.connections()), (2, 2));
}

#[tokio::test]
async fn a_connection_that_was_idle_for_long_is_not_used_again() {
    let server = Server::new(Tls::Implicit).await;
    let mailer = server.mailer(URL).build().unwrap();
    mailer.send(&message()).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    mailer.send(&message()).await.unwrap();
    assert_eq!((server.mails().len(), server.connections()), (2, 2));
    assert!(!server.said("RSET"));
}

#[tokio::test]
async fn a_refused_mail_does_not_cost_the_connection() {
    let refusals = [
        (At::Mail, Say("550 5.7.1 no")),
        (At::Rcpt, Say("550 5.1.1 no")),
        (At::Data, Say("451 4.3.0 later")),
        (At::End, Say("554 5.7.1 no")),
    ];
    let server = Server::scripted(Tls::Implicit, &refusals).await;
    let mailer = server.mailer(URL).build().unwrap();
    for _ in refusals {
        mailer.send(&message()).await.unwrap_err();
    }
    mailer.send(&message()).await.unwrap();
    assert_eq!((server.mails().len(), server.connections()), (1, 1));
}

#[tokio::test]
async fn a_mail_that_may_have_arrived_is_not_sent_again_by_the_mailer() {
    let server = Server::new(Tls::Implicit).await;
    let mailer = server.mailer(URL).build().unwrap();
    mailer.send(&message()).await.unwrap();
    server.next(At::End, HangUp);
    let error = mailer.send(&message()).await.unwrap_err();
    assert_eq!(means(&error), Means::Uncertain);
    let sent = |line: &&common::server::Line| line.text == "DATA";
    assert_eq!(server.lines().iter().filter(sent).count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_never_more_connections_than_allowed() {
    for allowed in [1, 2] {
        let server = Server::new(Tls::None).await;
        let mailer = server.local().connections(allowed).build().unwrap();
        let sending: Vec<_> = (0..16)
            .map(|_| {
                let mailer = mailer.clone();
                tokio::spawn(async move { mailer.send(&message()).await })
            })
            .collect();
        for sent in sending {
            sent.await.unwrap().unwrap();
        }
        assert_eq!(server.mails().len(), 16);
        assert!(server.most_open() <= allowed, "{}", server.most_open());
    }
}

#[tokio::test]
async fn a_mail_that_finds_no_free_connection_is_given_up_in_time() {
    let script = [
        (At::End, Silence),
        (At::Connect, Say("220 for the first")),
        // Should the second find the place of the first in its last moment.
        (At::Connect, Silence),
    ];
    let server = Server::scripted(Tls::None, &script).await;
    let mailer = server.local().connections(1);
    let mailer = mailer.timeout(Duration::from_secs(1)).build().unwrap();
    let (first, second) = (message(), message());
    let (first, second) = tokio::join!(mailer.send(&first), mailer.send(&second));
    // Only the first was handed over.
    assert_eq!(means(&first.unwrap_err()), Means::Uncertain);
    assert_eq!(means(&second.unwrap_err()), Means::Transient);
}

#[tokio::test]
async fn a_send_that_is_dropped_leaves_nothing_behind() {
    let server = Server::scripted(Tls::None, &[(At::Rcpt, Silence)]).await;
    let mailer = server.local().connections(1).build().unwrap();
    let dropped = message();
    let asked = async {
        while !server.said("RCPT TO:<ada@example.com>") {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        sent = mailer.send(&dropped) => panic!("{sent:?}"),
        () = asked => {}
    }
    // Its place is free, and its half conversation is not continued.
    mailer.send(&message()).await.unwrap();
    assert_eq!(server.connections(), 2);
}
