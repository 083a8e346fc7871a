//! What each provider of text messages gets, to the byte.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{KEY, Provider, answer, client, sms, sms_text};
use password_reset::sms::SmsSender;
use password_reset_http::{ConfigError, Twilio, TwilioSender, Vonage};
use serde_json::json;

const FORM: &str = "application/x-www-form-urlencoded";

fn twilio(sender: TwilioSender) -> Twilio {
    Twilio::new(client(), "AC0123", KEY.into(), sender).unwrap()
}

fn fields(fields: [(&str, &str); 3]) -> Vec<(String, String)> {
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test]
async fn w1_twilio_gets_exactly_this() {
    let provider = Provider::start([answer(201)]).await;
    let from = TwilioSender::From("+15005550006".into());
    let sender = twilio(from).base_url(&provider.base).unwrap();
    sender.send(&sms()).await.unwrap();
    let seen = provider.only();
    let line = "POST /2010-04-01/Accounts/AC0123/Messages.json HTTP/1.1";
    assert_eq!(seen.line, line);
    // `AC0123:key-0123456789abcdef`
    let key = "Basic QUMwMTIzOmtleS0wMTIzNDU2Nzg5YWJjZGVm";
    seen.assert_headers(&provider, FORM, &[("authorization", key)]);
    let text = sms_text();
    let expected = [
        ("Body", &*text),
        ("From", "+15005550006"),
        ("To", "+4930123456"),
    ];
    assert_eq!(seen.form(), fields(expected));
}

#[tokio::test]
async fn twilio_takes_a_messaging_service_and_an_api_key() {
    let provider = Provider::start([answer(201)]).await;
    let service = TwilioSender::MessagingService("MG0123".into());
    let sender = twilio(service).api_key("SK0123", KEY.into()).unwrap();
    let sender = sender.base_url(&provider.base).unwrap();
    sender.send(&sms()).await.unwrap();
    let seen = provider.only();
    let line = "POST /2010-04-01/Accounts/AC0123/Messages.json HTTP/1.1";
    assert_eq!(seen.line, line);
    // `SK0123:key-0123456789abcdef`
    let key = "Basic U0swMTIzOmtleS0wMTIzNDU2Nzg5YWJjZGVm";
    seen.assert_headers(&provider, FORM, &[("authorization", key)]);
    let text = sms_text();
    let expected = [
        ("Body", &*text),
        ("MessagingServiceSid", "MG0123"),
        ("To", "+4930123456"),
    ];
    assert_eq!(seen.form(), fields(expected));
}

#[tokio::test]
async fn w1_vonage_gets_exactly_this() {
    for (sender, from) in [("Example", "Example"), ("+4930999", "4930999")] {
        let provider = Provider::start([answer(202)]).await;
        let sender = Vonage::new(client(), "abcd1234", KEY.into(), sender).unwrap();
        sender
            .base_url(&provider.base)
            .unwrap()
            .send(&sms())
            .await
            .unwrap();
        let seen = provider.only();
        assert_eq!(seen.line, "POST /v1/messages HTTP/1.1");
        // `abcd1234:key-0123456789abcdef`
        let key = "Basic YWJjZDEyMzQ6a2V5LTAxMjM0NTY3ODlhYmNkZWY=";
        seen.assert_headers(&provider, "application/json", &[("authorization", key)]);
        let body = json!({
            "message_type": "text",
            "channel": "sms",
            "to": "4930123456",
            "from": from,
            "text": sms_text(),
            "client_ref": "07070707070707070707070707070707",
        });
        assert_eq!(seen.json(), body);
    }
}

#[test]
fn w9_a_sender_is_one_plain_name() {
    for name in [
        "",
        " A",
        "A\r\nB",
        "A\nB",
        "\u{dc}ber",
        "A:B",
        &"a".repeat(33),
    ] {
        let refused = ConfigError::Name { what: "sender" };
        let from = TwilioSender::From(name.into());
        let twilio = Twilio::new(client(), "AC0123", KEY.into(), from);
        assert_eq!(twilio.err(), Some(refused), "{name:?}");
        let vonage = Vonage::new(client(), "abcd1234", KEY.into(), name);
        assert_eq!(vonage.err(), Some(refused), "{name:?}");
    }
}
