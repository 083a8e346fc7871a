//! Codes on a store that two processes share. For every adapter.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "processes.rs"]
pub(crate) mod processes;

use password_reset::audit::{EventKind, Refused, Withheld};
use password_reset::flow::{Builder, CodeError, Codes};
use password_reset::mail::Kind;
use password_reset::queue::Channel;
use password_reset::store::Live;
use processes::{ADA, Process, SPREAD, Shared, client, processes_with, typed};
use tokio::task::JoinSet;

/// Every try costs an Argon2id.
const ROUNDS: usize = 3;
const GOOD: &str = "a quiet harbour at dawn";

const WRONG: EventKind = EventKind::Refused(Refused::WrongCode);
const LOCKED: EventKind = EventKind::Refused(Refused::CodesLocked);

/// What leads to a code, and the code where one was mailed.
#[derive(Clone)]
struct Asked {
    handle: String,
    code: Option<u32>,
}

impl Asked {
    fn right(&self) -> String {
        format!("{:08}", self.code.unwrap())
    }

    /// A guess that is wrong, another for every number.
    fn wrong(&self, number: usize) -> String {
        let number = u32::try_from(number).unwrap() + 1;
        format!("{:08}", (self.code.unwrap_or(0) + number) % 100_000_000)
    }
}

impl Process {
    async fn ask_for_code(&self, identifier: &str) -> Asked {
        let before = self.outbox.messages().len();
        let accepted = self
            .flow
            .request_code(&typed(identifier), Channel::Mail, &client())
            .await
            .unwrap();
        self.clock.advance(SPREAD);
        self.flow.worker().run_due().await;
        let sent = self.outbox.messages().into_iter().skip(before);
        let mut letters = sent.filter(|sent| sent.kind == Kind::ResetCode);
        Asked {
            handle: accepted.handle.to_string(),
            code: letters.next().map(|letter| code_in(&letter.text)),
        }
    }

    async fn redeem(&self, handle: &str, code: &str) -> Result<String, CodeError> {
        let redeemed = self.flow.redeem_code(handle, code, &client()).await?;
        Ok(redeemed.token.expose().to_owned())
    }

    async fn is_refused(&self, handle: &str, code: &str) -> bool {
        matches!(self.redeem(handle, code).await, Err(CodeError::Invalid))
    }

    async fn reset(&self, token: &str) {
        let verified = self.flow.verify(token, &client()).await.unwrap();
        // Another one with each token: the present password is not taken again.
        let new = format!("{GOOD}, {}", token.split_at(12).0);
        let password = verified.parse_password(&new).unwrap();
        let _ = verified.complete(password).await.unwrap();
    }
}

/// The first eight digits in a row, a space among them passed over.
fn code_in(text: &str) -> u32 {
    let mut run = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' => run.push(c),
            ' ' if !run.is_empty() => {}
            _ => run.clear(),
        }
        if run.len() == 8 {
            break;
        }
    }
    run.parse().unwrap()
}

/// Two processes with codes, and room for a dozen live ones.
fn with_codes<B: Shared>(backends: [B; 2], change: impl Fn(&mut Codes)) -> [Process; 2] {
    let mut codes = Codes::default();
    change(&mut codes);
    processes_with(backends, |builder: Builder| {
        builder
            .codes(codes)
            .live(Live::at_most(9.try_into().unwrap()))
    })
}

/// So many at once, on both processes in turns.
async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    processes: &[Process; 2],
    racers: usize,
    act: impl Fn(usize, Process) -> F,
) -> Vec<T> {
    let both = processes.iter().cycle().cloned();
    let tasks: JoinSet<T> = both
        .take(racers)
        .enumerate()
        .map(|(number, process)| act(number, process))
        .collect();
    tasks.join_all().await
}

/// So many wrong guesses at once, in turns for each of these codes, from both processes for each;
/// all are refused.
async fn guess(processes: &[Process; 2], guesses: usize, asked: &[Asked]) {
    let refused = race(processes, guesses, |number, process| {
        let asked = &asked[(number + number / asked.len()) % asked.len()];
        let (handle, code) = (asked.handle.clone(), asked.wrong(number));
        async move { process.is_refused(&handle, &code).await }
    });
    assert!(refused.await.into_iter().all(|refused| refused));
}

fn saw(processes: &[Process; 2], kind: EventKind) -> usize {
    processes.iter().map(|process| process.saw(kind)).sum()
}

fn hashes(processes: &[Process; 2]) -> u64 {
    let started = processes.iter().map(|p| p.flow.hashing().stats().started);
    started.sum()
}

/// R36, W18: counted before anything is compared, wherever the guesses come in.
pub(crate) async fn two_hundred_guesses_make_five_comparisons<B: Shared>(backends: [B; 2]) {
    let both = with_codes(backends, |_| {});
    let asked = both[0].ask_for_code(ADA).await;
    let before = hashes(&both);
    guess(&both, 200, std::slice::from_ref(&asked)).await;
    assert_eq!(hashes(&both) - before, 5);
    assert_eq!(saw(&both, WRONG), 5);
    for process in &both {
        assert!(process.is_refused(&asked.handle, &asked.right()).await);
    }
    assert_eq!(hashes(&both) - before, 5);
}

/// R33, W19: what counts for the account is exact, whichever code and process a try belongs to.
pub(crate) async fn twenty_tries_of_any_code_lock_them_all<B: Shared>(backends: [B; 2]) {
    let both = with_codes(backends, |_| {});
    let [one, other] = &both;
    let mut asked = Vec::new();
    for _ in 0..9 {
        asked.push(one.ask_for_code(ADA).await);
    }
    let untried = asked.pop().unwrap();
    guess(&both, 40, &asked).await;
    assert_eq!((saw(&both, WRONG), saw(&both, LOCKED)), (20, 20));
    assert!(other.is_refused(&untried.handle, &untried.right()).await);
    assert_eq!(saw(&both, LOCKED), 21);
    assert!(other.ask_for_code(ADA).await.code.is_none());
    assert_eq!(other.saw(EventKind::Withheld(Withheld::CodesLocked)), 1);
    // R35: a link works.
    assert!(other.is_mailed().await);
    one.reset(&other.outbox.last_token().unwrap()).await;
    // R34: success clears the count.
    let fresh = other.ask_for_code(ADA).await;
    assert!(one.redeem(&fresh.handle, &fresh.right()).await.is_ok());
}

/// The account's count is made by whoever tries first. When several do, none of their tries is lost
/// and none counts twice.
pub(crate) async fn the_first_tries_of_an_account_are_all_counted<B: Shared>(backends: [B; 2]) {
    let both = with_codes(backends, |codes| codes.tries_per_account = 10);
    let [one, other] = &both;
    for round in 0..ROUNDS {
        // With ten tries, the right code is the eleventh; with nine, the tenth.
        for tries in [10, 9] {
            let address = format!("user-{round}-{tries}@example.com");
            one.add(&format!("{round}-{tries}"), &address);
            let mut asked = Vec::new();
            for _ in 0..3 {
                asked.push(one.ask_for_code(&address).await);
            }
            let untried = asked.pop().unwrap();
            let before = saw(&both, WRONG);
            guess(&both, tries, &asked).await;
            assert_eq!(saw(&both, WRONG) - before, tries);
            let right = other.redeem(&untried.handle, &untried.right()).await;
            assert_eq!(right.is_ok(), tries == 9, "after {tries} tries");
        }
        assert_eq!(saw(&both, LOCKED), round + 1);
    }
}

/// W27: exchanged once, whoever presents it at that moment.
pub(crate) async fn a_right_code_becomes_one_token<B: Shared>(backends: [B; 2]) {
    let both = with_codes(backends, |codes| codes.tries = 10);
    let [one, other] = &both;
    for round in 0..ROUNDS {
        let asked = one.ask_for_code(ADA).await;
        let answers = race(&both, 16, |_, process| {
            let asked = asked.clone();
            async move { process.redeem(&asked.handle, &asked.right()).await }
        });
        let (tokens, refused): (Vec<_>, Vec<_>) =
            answers.await.into_iter().partition(Result::is_ok);
        assert_eq!(tokens.len(), 1, "round {round}");
        let invalid = |answer: &Result<_, _>| matches!(answer, Err(CodeError::Invalid));
        assert!(refused.iter().all(invalid), "round {round}: {refused:?}");
        assert_eq!(saw(&both, EventKind::CodeRedeemed), round + 1);
        other.reset(tokens[0].as_ref().unwrap()).await;
    }
}

/// R27, W48: asks for a code for this identifier, and tries six times in vain. What is stored then
/// must not tell whether there is an account.
pub(crate) async fn tried_in_vain<B: Shared>(backends: [B; 2], identifier: &str) {
    let both = with_codes(backends, |_| {});
    let asked = both[0].ask_for_code(identifier).await;
    assert_eq!(asked.code.is_some(), identifier == ADA);
    guess(&both, 6, &[asked]).await;
    assert_eq!(saw(&both, EventKind::Refused(Refused::CodeTries)), 1);
}

/// Each of these on one kind of backend.
macro_rules! codes {
    ($database:ident, $pair:expr) => {
        $crate::codes::processes::across_processes! { codes, $database, $pair,
            two_hundred_guesses_make_five_comparisons
            twenty_tries_of_any_code_lock_them_all
            the_first_tries_of_an_account_are_all_counted
            a_right_code_becomes_one_token
        }
    };
}
pub(crate) use codes;
