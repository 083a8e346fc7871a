//! What each fault of a server means for the worker.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::server::{Act, At, Server, Tls};
use common::{Means, cause, everything, means, message, message_to};
use password_reset::mail::Mailer;
use password_reset_lettre::{Enhanced, Failure, SmtpMailer, Step};

use Act::{HangUp, Say, Silence};
use Means::{Permanent, Transient, Uncertain};

const URL: &str = "smtps://user:password@mail.example.com";

#[tokio::test]
async fn refusals_are_told_apart() {
    for (at, answer, wanted) in [
        // Not about this mail.
        (At::Connect, "421 4.3.2 too busy", Transient),
        (At::Connect, "554 5.7.1 not you", Transient),
        (At::Ehlo, "421 4.3.2 too busy", Transient),
        (At::Ehlo, "550 5.7.1 not you", Transient),
        (At::Auth, "454 4.7.0 later", Transient),
        // W47: our own password must not bury everybody's mail.
        (At::Auth, "535 5.7.8 wrong", Transient),
        (At::Auth, "534 5.7.9 too weak", Transient),
        (At::Auth, "538 5.7.11 encrypt", Transient),
        (At::Mail, "530 5.7.0 log in first", Transient),
        (At::Rcpt, "530 5.7.0 log in first", Transient),
        (At::Mail, "451 4.3.0 later", Transient),
        (At::Mail, "550 5.7.1 not this sender", Transient),
        (At::Rcpt, "450 4.2.1 busy", Transient),
        (At::Rcpt, "452 4.2.2 full", Transient),
        (At::Rcpt, "421 4.4.2 bye", Transient),
        (At::Rcpt, "550 5.1.1 unknown", Permanent),
        (At::Rcpt, "550 5.2.1 closed", Permanent),
        (At::Rcpt, "550 no", Permanent),
        // W47: policy is about us. A relay that does not know us says this to every mail.
        (At::Rcpt, "554 5.7.1 relay access denied", Transient),
        (At::Rcpt, "571 5.7.1 not here", Transient),
        (At::End, "550 5.7.60 may not send as this sender", Transient),
        (At::Data, "451 4.3.0 later", Transient),
        (At::Data, "554 5.5.1 no", Permanent),
        (At::End, "451 4.3.0 later", Transient),
        (At::End, "452 4.3.1 full", Transient),
        (At::End, "421 4.3.2 bye", Transient),
        (At::End, "550 5.7.1 spam", Transient),
        (At::End, "554 5.6.0 no", Permanent),
    ] {
        let server = Server::scripted(Tls::Implicit, &[(at, Say(answer))]).await;
        let mailer = server.mailer(URL).build().unwrap();
        let error = mailer.send(&message()).await.unwrap_err();
        assert_eq!(means(&error), wanted, "{at:?} {answer}");
        let Failure::Refused { code, enhanced, .. } = cause(&error) else {
            panic!("{at:?} {answer}: {error:?}");
        };
        assert!(answer.starts_with(&code.to_string()), "{answer}");
        assert_eq!(enhanced.is_some(), answer.contains('.'), "{answer}");
        assert!(server.mails().is_empty());
    }
}

#[tokio::test]
async fn a_refusal_does_not_quote_the_server() {
    let answer = "550-5.1.1 <ada@example.com>: s3cret text\r\n550 5.1.1 unknown";
    let server = Server::scripted(Tls::Implicit, &[(At::Rcpt, Say(answer))]).await;
    let mailer = server.mailer(URL).build().unwrap();
    let error = mailer.send(&message()).await.unwrap_err();
    let Failure::Refused {
        step,
        code,
        enhanced,
    } = cause(&error)
    else {
        panic!("{error:?}");
    };
    assert_eq!((*step, *code), (Step::Recipient, 550));
    assert_eq!(*enhanced, Some(Enhanced(5, 1, 1)));
    let said = everything(&error);
    assert!(
        said.contains("the server answered 550 (5.1.1) to RCPT"),
        "{said}"
    );
    assert!(!said.contains("ada") && !said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn a_lost_connection_is_uncertain_only_once_the_mail_is_out() {
    for (at, wanted) in [
        (At::Connect, Transient),
        (At::Ehlo, Transient),
        (At::Auth, Transient),
        (At::Mail, Transient),
        (At::Rcpt, Transient),
        (At::Data, Transient),
        (At::End, Uncertain),
    ] {
        let server = Server::scripted(Tls::Implicit, &[(at, HangUp)]).await;
        let mailer = server.mailer(URL).build().unwrap();
        let error = mailer.send(&message()).await.unwrap_err();
        assert_eq!(means(&error), wanted, "{at:?}");
        assert!(
            matches!(cause(&error), Failure::Lost { .. }),
            "{at:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_and_is_uncertain_only_once_the_mail_is_out() {
    let mut waiting = Vec::new();
    for (at, step, wanted) in [
        (At::Connect, Step::Greeting, Transient),
        (At::Ehlo, Step::Hello, Transient),
        (At::Auth, Step::Login, Transient),
        (At::Mail, Step::Sender, Transient),
        (At::Rcpt, Step::Recipient, Transient),
        (At::Data, Step::Data, Transient),
        (At::End, Step::Content, Uncertain),
    ] {
        waiting.push(tokio::spawn(async move {
            let server = Server::scripted(Tls::None, &[(at, Silence)]).await;
            let url = format!("smtp://user:password@{}", server.address);
            let mailer = SmtpMailer::builder(&url).unwrap();
            // Long enough for everything but the silence.
            let mailer = mailer.timeout(Duration::from_secs(1)).build().unwrap();
            let error = mailer.send(&message()).await.unwrap_err();
            assert_eq!(means(&error), wanted, "{at:?}");
            let Failure::Timeout { step: reached } = cause(&error) else {
                panic!("{at:?}: {error:?}");
            };
            assert_eq!(*reached, step);
        }));
    }
    for waited in waiting {
        waited.await.unwrap();
    }
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_given_up() {
    // TLS is expected of a server that waits for a word in the open.
    let server = Server::scripted(Tls::None, &[(At::Connect, Silence)]).await;
    let mailer = server.mailer(URL).timeout(Duration::from_millis(300));
    let error = mailer.build().unwrap().send(&message()).await.unwrap_err();
    assert!(matches!(
        cause(&error),
        Failure::Timeout { step: Step::Tls }
    ));
    assert_eq!(means(&error), Transient);
}

#[tokio::test]
async fn nobody_at_home_is_transient() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    drop(server);
    let mailer = SmtpMailer::from_url(&format!("smtp://{address}")).unwrap();
    let error = mailer.send(&message()).await.unwrap_err();
    assert!(matches!(cause(&error), Failure::Connect(_)), "{error:?}");
    assert_eq!(means(&error), Transient);
}

#[tokio::test]
async fn a_server_that_does_not_speak_smtp_is_no_mailbox() {
    for (at, answer, wanted) in [
        (At::Connect, "HTTP/1.1 400 Bad Request", Transient),
        (At::Connect, "334 go on", Transient),
        (At::Auth, "334 go on", Transient),
        (
            At::Mail,
            "250 OK\r\n250 OK\r\n250 OK\r\n354 go\r\n250 queued",
            Transient,
        ),
        // Had it not been asked for 354, the mail would be read as commands.
        (At::Data, "250 OK", Transient),
        (At::Data, "354 go on\r\n250 queued", Transient),
        (At::End, "354 go on", Uncertain),
        (At::End, "yes", Uncertain),
    ] {
        let server = Server::scripted(Tls::Implicit, &[(at, Say(answer))]).await;
        let mailer = server.mailer(URL).build().unwrap();
        let error = mailer.send(&message()).await.unwrap_err();
        assert_eq!(means(&error), wanted, "{at:?} {answer}");
        assert!(
            matches!(cause(&error), Failure::Protocol { .. }),
            "{answer}: {error:?}"
        );
    }
}

#[tokio::test]
async fn endless_answers_are_cut_off() {
    let long: &'static str = Box::leak("2".repeat(100_000).into_boxed_str());
    let many: &'static str = Box::leak("250-a\r\n".repeat(10_000).into_boxed_str());
    for answer in [long, many] {
        let server = Server::scripted(Tls::Implicit, &[(At::Ehlo, Say(answer))]).await;
        let mailer = server.mailer(URL).build().unwrap();
        let error = mailer.send(&message()).await.unwrap_err();
        assert!(matches!(
            cause(&error),
            Failure::Protocol { step: Step::Hello }
        ));
    }
}

#[tokio::test]
async fn a_server_without_a_known_login_is_our_configuration() {
    let server = Server::with(Tls::Implicit, "AUTH GSSAPI", &[]).await;
    let mailer = server.mailer(URL).build().unwrap();
    let error = mailer.send(&message()).await.unwrap_err();
    assert!(matches!(cause(&error), Failure::NoAuth));
    assert_eq!(means(&error), Transient);
}

#[tokio::test]
async fn an_address_that_is_not_ascii_needs_a_server_that_knows_it() {
    for to in ["jörg@example.com", "ada@exämple.com"] {
        let server = Server::new(Tls::Implicit).await;
        let mailer = server.mailer(URL).build().unwrap();
        mailer.send(&message_to(to)).await.unwrap();
        assert!(server.said(&format!("RCPT TO:<{to}>")));
        let options = "BODY=8BITMIME SMTPUTF8";
        assert!(server.said(&format!("MAIL FROM:<no-reply@app.example.org> {options}")));
        let mails = server.mails();
        let mail = String::from_utf8(mails.first().unwrap().clone()).unwrap();
        assert!(mail.contains(&format!("To: {to}\r\n")), "{mail}");

        for offers in ["", "8BITMIME", "SMTPUTF8"] {
            let server = Server::with(Tls::None, offers, &[]).await;
            let mailer = server.local().build().unwrap();
            let error = mailer.send(&message_to(to)).await.unwrap_err();
            assert!(matches!(cause(&error), Failure::NoSmtpUtf8), "{error:?}");
            assert_eq!(means(&error), Permanent);
            // The next mail is not affected.
            mailer.send(&message()).await.unwrap();
            assert_eq!(server.connections(), 1);
        }
    }
}

#[tokio::test]
async fn an_address_that_smtp_does_not_know_is_permanent() {
    let server = Server::new(Tls::None).await;
    let mailer = server.local().build().unwrap();
    for to in [
        "a..b@example.com",
        ".a@example.com",
        "a@-example.com",
        "a@example..com",
    ] {
        let error = mailer.send(&message_to(to)).await.unwrap_err();
        assert!(matches!(cause(&error), Failure::Unwritable(_)), "{to}");
        assert_eq!(means(&error), Permanent);
    }
    assert_eq!(server.connections(), 0);
}
