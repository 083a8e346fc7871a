//! R76, W13: what a person types, and where it went, is written nowhere but into the message.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use password_reset::account::UserStore;
use password_reset::audit::TracingSink;
use password_reset::flow::{CodeError, Codes, TextLimits};
use password_reset::mail::{Kind, ResetCode};
use password_reset::password::Candidate;
use password_reset::queue::{Channel, JobId, Task};
use password_reset::sms::{PhoneNumber, SendError, SmsSender, TextMessage};
use password_reset::testing::{Behaviour, block_on};
use password_reset::token::{CodeHandle, PresentedCode, PresentedToken};
use secrecy::SecretString;

use crate::common::{
    Backends, Captured, GOOD, OLD_HASH, SPREAD, World, account, client, keyring, site, typed, user,
};
use crate::{assert_clean, holds};

const ADA: &str = "ada@example.com";
const NUMBER: &str = "+4930555012";
const WRONG: &str = "90817263";

/// A telephone, and the worst of its carriers: when it fails, it quotes all that it was told.
#[derive(Clone, Default)]
struct Phone {
    texts: Arc<Mutex<Vec<String>>>,
    fails: Arc<Mutex<bool>>,
}

#[password_reset::async_trait]
impl SmsSender for Phone {
    async fn send(&self, message: &TextMessage) -> Result<(), SendError> {
        self.texts.lock().unwrap().push(message.text().to_owned());
        match *self.fails.lock().unwrap() {
            true => Err(SendError::permanent(format!(
                "{} {}",
                message.to().as_str(),
                message.text()
            ))),
            false => Ok(()),
        }
    }
}

impl Phone {
    fn fail(&self, fails: bool) {
        *self.fails.lock().unwrap() = fails;
    }

    fn last(&self) -> String {
        self.texts.lock().unwrap().last().unwrap().clone()
    }
}

/// What must not be found.
#[derive(Default)]
struct Secrets {
    codes: Vec<String>,
    handles: Vec<String>,
    tokens: Vec<String>,
}

/// The first eight digits in a row, a space among them passed over.
fn code_in(text: &str) -> String {
    let text = text.replace(' ', "");
    let mut runs = text.split(|c: char| !c.is_ascii_digit());
    runs.find(|run| run.len() == 8).unwrap().to_owned()
}

fn world(phone: &Phone, sink: bool) -> World {
    let world = World::with(Backends::unlimited(), |builder| {
        let builder = builder
            .codes(Codes::default())
            .sms(phone.clone(), TextLimits::default());
        match sink {
            true => builder.audit(TracingSink),
            false => builder,
        }
    });
    let mut ada = account("1", ADA);
    ada.phone = Some(PhoneNumber::parse(NUMBER).unwrap());
    world.users.add(ada);
    world
}

/// Asks for a code, and answers its handle.
async fn asked(world: &World, identifier: &str, channel: Channel) -> String {
    let identifier = typed(identifier);
    let client = client();
    let accepted = world.flow.request_code(&identifier, channel, &client);
    let handle = accepted.await.unwrap().handle.to_string();
    world.work().await;
    handle
}

async fn redeem(world: &World, handle: &str, code: &str) -> Result<String, CodeError> {
    let redeemed = world.flow.redeem_code(handle, code, &client()).await?;
    Ok(redeemed.token.expose().to_owned())
}

/// Codes by mail and by text message, refused by their carriers, sent, typed wrong, typed right,
/// redeemed, and used; and a store that fails at each call meanwhile.
async fn story(world: &World, phone: &Phone) -> Secrets {
    let mut secrets = Secrets::default();
    world.outbox.behave(Behaviour::FailPermanent);
    phone.fail(true);
    for channel in [Channel::Mail, Channel::Sms] {
        secrets.handles.push(asked(world, ADA, channel).await);
    }
    secrets.codes.push(code_in(&phone.last()));
    world.outbox.behave(Behaviour::Accept);
    phone.fail(false);
    secrets
        .handles
        .push(asked(world, "nobody@example.com", Channel::Mail).await);
    for (channel, password) in [
        (Channel::Mail, GOOD),
        (Channel::Sms, "another quiet harbour"),
    ] {
        let handle = asked(world, ADA, channel).await;
        let code = match channel {
            Channel::Mail => {
                let sent = world.outbox.messages().pop().unwrap();
                assert_eq!(sent.kind, Kind::ResetCode);
                code_in(&sent.text)
            }
            _ => code_in(&phone.last()),
        };
        for wrong in [WRONG, "9081 7263", "no code"] {
            redeem(world, &handle, wrong).await.unwrap_err();
        }
        world.faults.fail(2);
        redeem(world, &handle, WRONG).await.unwrap_err();
        let token = redeem(world, &handle, &code).await.unwrap();
        redeem(world, &handle, &code).await.unwrap_err();
        world.clock.advance(SPREAD);
        assert!(world.reset(&token, password).await.unwrap());
        world.work().await;
        assert!(world.reset(&token, password).await.is_err());
        secrets.codes.push(code);
        secrets.handles.push(handle);
        secrets.tokens.push(token);
    }
    secrets
}

/// Neither as it is, nor as people write it.
fn assert_hidden(what: &str, text: &str, secrets: &Secrets, more: &[&str]) {
    let mut hidden: Vec<String> = [WRONG, "9081 7263", NUMBER, "4930555012", "ada@"]
        .iter()
        .chain(more)
        .map(|&secret| secret.to_owned())
        .collect();
    hidden.extend([GOOD, "another quiet harbour", OLD_HASH, "$insecure$"].map(str::to_owned));
    for code in &secrets.codes {
        let (one, two) = code.split_at(4);
        hidden.extend([code.clone(), format!("{one} {two}"), format!("{one}-{two}")]);
    }
    let hidden: Vec<&str> = hidden.iter().map(String::as_str).collect();
    for token in &secrets.tokens {
        assert_clean(what, text.as_bytes(), token, &hidden);
    }
    assert!(!secrets.tokens.is_empty() && secrets.codes.len() == 3);
}

#[test]
fn w13_no_code_and_no_number_is_traced() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let secrets = tracing::subscriber::with_default(subscriber, || {
        let phone = Phone::default();
        let world = world(&phone, true);
        block_on(story(&world, &phone))
    });
    let text = String::from_utf8(captured.bytes()).unwrap();
    // All of it happened, and was seen.
    for kind in [
        "code_sent",
        "text_sent",
        "code_redeemed",
        "mail_failed",
        "refused.wrong_code",
        "refused.malformed",
        "authn_password_change",
    ] {
        assert!(text.contains(kind), "{kind}: {text}");
    }
    assert_hidden("the trace", &text, &secrets, &["@example.com", "nobody"]);
    // A handle proves nothing: the trail names the record that it leads to, in a spelling of its own.
    for handle in &secrets.handles {
        assert!(!holds(text.as_bytes(), handle.as_bytes()), "{handle}");
    }
    let last = CodeHandle::parse(secrets.handles.last().unwrap()).unwrap();
    assert!(text.contains(&last.selector().to_string()), "{text}");
    let ours = |line: &str| line.contains("password_reset::audit");
    assert!(text.lines().all(ours), "{text}");
}

/// R11: `Debug` and `Display` of everything that a code passes through.
#[test]
fn r11_no_code_and_no_number_is_printed() {
    let phone = Phone::default();
    let world = world(&phone, false);
    let (secrets, printed) = block_on(async {
        let secrets = story(&world, &phone).await;
        let code = secrets.codes.last().unwrap();
        let secret = SecretString::from(code.as_str());
        let site = site();
        let to = PhoneNumber::parse(NUMBER).unwrap();
        let facts = ResetCode::new(&site, &secret, SPREAD, None);
        let message = TextMessage::new(JobId::from_bytes([7; 16]), to.clone(), phone.last().into());
        let handle = CodeHandle::parse(secrets.handles.last().unwrap()).unwrap();
        let task = Task::Code {
            identifier: typed(ADA),
            channel: Channel::Sms,
            handle: handle.selector(),
            suppressed: false,
        };
        let mut printed = format!(
            "{facts:#?} {message:#?} {to:?} {task:#?} {:#?} {:#?} {:#?} {:#?} {:#?} {:#?}",
            PresentedCode::parse(code).unwrap(),
            PresentedToken::parse(secrets.tokens.last().unwrap()).unwrap(),
            Candidate::parse(GOOD).unwrap(),
            world.recorder.events(),
            world.outbox.messages(),
            world.flow,
        );
        let (ada, client) = (typed(ADA), client());
        let accepted = world.flow.request_code(&ada, Channel::Sms, &client);
        let accepted = accepted.await.unwrap();
        world.work().await;
        let (handle, code) = (accepted.handle.to_string(), code_in(&phone.last()));
        let redeemed = world.flow.redeem_code(&handle, &code, &client);
        let redeemed = redeemed.await.unwrap();
        assert!(!format!("{redeemed:?}").contains(redeemed.token.expose()));
        write!(printed, "{accepted:#?} {redeemed:#?}").unwrap();
        let mut errors: Vec<CodeError> = Vec::new();
        for fault in [0, 1, 2, 3] {
            world.faults.fail(fault);
            errors.push(redeem(&world, &handle, &code).await.unwrap_err());
        }
        for error in &errors {
            let mut source: Option<&dyn Error> = Some(error);
            while let Some(layer) = source {
                write!(printed, "{layer} {layer:?} {layer:#?}").unwrap();
                source = layer.source();
            }
        }
        let stored = world.users.account(&user("1")).await.unwrap();
        write!(printed, "{stored:#?} {:?}", keyring()).unwrap();
        (secrets, printed)
    });
    // (A Message-ID ends in the sender's own domain.)
    assert_hidden("Debug or Display", &printed, &secrets, &[]);
}
