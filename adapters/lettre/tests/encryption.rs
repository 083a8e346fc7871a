//! Links and passwords go over encrypted connections, to the server that was named (R88).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::server::{Act, At, Server, Tls};
use common::{ADA, Means, cause, everything, means, message};
use password_reset::mail::Mailer;
use password_reset_lettre::{ConfigError, Failure, SmtpMailer, Step};

const SMTPS: &str = "smtps://us%40er:s3cr%25t@mail.example.com";
const SMTP: &str = "smtp://us%40er:s3cr%25t@mail.example.com:587";
/// `\0us@er\0s3cr%t`.
const PLAIN: &str = "AUTH PLAIN AHVzQGVyAHMzY3IldA==";

/// Where nothing but the greetings of both sides may have been heard by a third one.
fn assert_nothing_in_clear(server: &Server) {
    for line in server.lines().iter().filter(|line| !line.encrypted) {
        let is_harmless = line.text.starts_with("EHLO ") || line.text == "STARTTLS";
        assert!(is_harmless, "{line:?}");
    }
}

#[tokio::test]
async fn a_mail_goes_out_over_tls_and_over_starttls() {
    for (tls, url) in [(Tls::Implicit, SMTPS), (Tls::OnDemand, SMTP)] {
        let server = Server::new(tls).await;
        let mailer = server.mailer(url).build().unwrap();
        mailer.send(&message()).await.unwrap();
        assert_eq!(server.mails().len(), 1);
        assert_nothing_in_clear(&server);
        assert!(server.said(PLAIN), "{:?}", server.lines());
        // W6: the envelope is the configured sender, and the one recipient (W1).
        assert!(server.said("MAIL FROM:<no-reply@app.example.org>"));
        assert!(server.said(&format!("RCPT TO:<{ADA}>")));
        let recipients = server.lines();
        let recipients = recipients.iter().filter(|l| l.text.starts_with("RCPT"));
        assert_eq!(recipients.count(), 1);
        // A machine without a name says its address.
        assert!(server.said("EHLO [127.0.0.1]"));
    }
}

#[tokio::test]
async fn auth_login_is_spoken_where_nothing_else_is() {
    let server = Server::with(Tls::Implicit, "AUTH CRAM-MD5 LOGIN", &[]).await;
    let mailer = server
        .mailer(SMTPS)
        .helo("app.example.org")
        .build()
        .unwrap();
    mailer.send(&message()).await.unwrap();
    assert!(server.said("EHLO app.example.org"));
    for line in ["AUTH LOGIN", "dXNAZXI=", "czNjciV0"] {
        assert!(server.said(line), "{line}");
    }
}

#[tokio::test]
async fn this_machine_needs_no_encryption() {
    let server = Server::new(Tls::None).await;
    let mailer = server.local().build().unwrap();
    mailer.send(&message()).await.unwrap();
    assert_eq!(server.mails().len(), 1);

    // A password is safe there too.
    let url = format!("smtp://us%40er:s3cr%25t@{}", server.address);
    let mailer = SmtpMailer::from_url(&url).unwrap();
    mailer.send(&message()).await.unwrap();
    assert!(server.said(PLAIN));
}

#[tokio::test]
async fn a_name_that_is_not_loopback_gets_nothing_in_clear() {
    // As if somebody on the way took the offer out.
    let server = Server::new(Tls::None).await;
    let mailer = server.mailer(SMTP).build().unwrap();
    let error = mailer.send(&message()).await.unwrap_err();
    assert!(matches!(cause(&error), Failure::NoStartTls), "{error:?}");
    assert_eq!(means(&error), Means::Transient);
    assert_nothing_in_clear(&server);
}

#[tokio::test]
async fn a_loopback_name_that_leads_elsewhere_is_not_loopback() {
    let mailer = SmtpMailer::builder("smtp://user:s3cret@localhost").unwrap();
    // A documentation address: nothing is sent to it, because it is refused before.
    let mailer = mailer.address(([192, 0, 2, 1], 25).into()).build().unwrap();
    let error = mailer.send(&message()).await.unwrap_err();
    let Failure::Connect(why) = cause(&error) else {
        panic!("{error:?}");
    };
    assert_eq!(why.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn plaintext_has_to_be_asked_for_and_takes_no_password_along() {
    let server = Server::new(Tls::None).await;
    let open = server.mailer("smtp://mail.example.com");
    let open = open.danger_allow_plaintext().build().unwrap();
    open.send(&message()).await.unwrap();
    assert_eq!(server.mails().len(), 1);

    let server = Server::new(Tls::None).await;
    let with_password = server
        .mailer(SMTP)
        .danger_allow_plaintext()
        .build()
        .unwrap();
    let error = with_password.send(&message()).await.unwrap_err();
    assert!(matches!(cause(&error), Failure::PasswordInClear));
    assert_eq!(means(&error), Means::Transient);
    assert_nothing_in_clear(&server);

    // What can be encrypted is.
    let server = Server::new(Tls::OnDemand).await;
    let offered = server
        .mailer(SMTP)
        .danger_allow_plaintext()
        .build()
        .unwrap();
    offered.send(&message()).await.unwrap();
    assert_nothing_in_clear(&server);
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    for (tls, url) in [
        (Tls::Implicit, "smtps://user:s3cret@other.example.com"),
        (Tls::Implicit, "smtps://user:s3cret@localhost"),
        (Tls::Implicit, "smtps://user:s3cret@127.0.0.1"),
        (Tls::OnDemand, "smtp://user:s3cret@other.example.com"),
        (Tls::OnDemand, "smtp://user:s3cret@[2001:db8::1]"),
    ] {
        let server = Server::new(tls).await;
        let mailer = server.mailer(url).build().unwrap();
        let error = mailer.send(&message()).await.unwrap_err();
        assert!(
            matches!(cause(&error), Failure::Tls(_)),
            "{}",
            everything(&error)
        );
        assert_eq!(means(&error), Means::Transient);
        assert_nothing_in_clear(&server);
        assert!(server.mails().is_empty());
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    for (tls, url) in [(Tls::Implicit, SMTPS), (Tls::OnDemand, SMTP)] {
        let (server, stranger) = (Server::new(tls).await, Server::new(Tls::None).await);
        let mailer = SmtpMailer::builder(url).unwrap().address(server.address);
        let mailer = mailer.root_certificate(stranger.certificate.as_bytes());
        let error = mailer.build().unwrap().send(&message()).await.unwrap_err();
        assert!(matches!(cause(&error), Failure::Tls(_)), "{error:?}");
        assert_nothing_in_clear(&server);
    }
}

#[tokio::test]
async fn what_was_said_before_tls_does_not_count_after_it() {
    // An answer to EHLO, put behind the answer to STARTTLS by somebody on the way: a client that
    // reads it later believes it came from the server.
    let forged = "220 go\r\n250-mail.example.com\r\n250 AUTH PLAIN";
    let server = Server::scripted(Tls::OnDemand, &[(At::StartTls, Act::Say(forged))]).await;
    let mailer = server.mailer(SMTP).build().unwrap();
    let error = mailer.send(&message()).await.unwrap_err();
    let is_refused = matches!(
        cause(&error),
        Failure::Protocol {
            step: Step::StartTls
        } | Failure::Tls(_)
    );
    assert!(is_refused, "{error:?}");
    assert_eq!(means(&error), Means::Transient);
    assert!(
        !server
            .lines()
            .iter()
            .any(|line| line.text.starts_with("AUTH"))
    );
}

#[tokio::test]
async fn an_offer_that_is_taken_back_by_an_answer_is_no_way_around_tls() {
    for answer in [
        "454 4.7.0 TLS not available",
        "502 5.5.1 what?",
        "334 go on",
    ] {
        let server = Server::scripted(Tls::OnDemand, &[(At::StartTls, Act::Say(answer))]).await;
        let mailer = server.mailer(SMTP).build().unwrap();
        let error = mailer.send(&message()).await.unwrap_err();
        assert_eq!(means(&error), Means::Transient, "{answer}");
        assert_nothing_in_clear(&server);
        assert!(server.mails().is_empty());
    }
}

#[tokio::test]
async fn w13_nothing_shows_the_password() {
    let server = Server::scripted(
        Tls::Implicit,
        &[(At::Auth, Act::Say("535 5.7.8 s3cr%t is wrong, us@er"))],
    )
    .await;
    let builder = server.mailer(SMTPS);
    let mut said = format!("{builder:?}");
    let mailer = builder.build().unwrap();
    let error = mailer.send(&message()).await.unwrap_err();
    said += &format!("{mailer:?} {}", everything(&error));
    for hidden in ["s3cr", "us@er", "us%40er", "AHVz"] {
        assert!(!said.contains(hidden), "{said}");
    }
    assert!(said.contains("535 (5.7.8) to AUTH"), "{said}");
}

#[test]
fn what_cannot_work_is_not_built() {
    let builder = || SmtpMailer::builder("smtps://mail.example.com").unwrap();
    for name in ["", "a b", "a\r\nMAIL FROM:<eve@evil.example.org>", "ü"] {
        let error = builder().helo(name).build().unwrap_err();
        assert!(matches!(error, ConfigError::Helo), "{name:?}");
    }
    for pem in [
        &b""[..],
        b"s3cret",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let error = builder().root_certificate(pem).build().unwrap_err();
        assert!(matches!(error, ConfigError::Certificate), "{error:?}");
    }
    let error = builder().header("Bcc", "eve@evil.example.org").unwrap_err();
    assert!(matches!(error, ConfigError::Header));
}
