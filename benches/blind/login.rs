//! Wrong passwords at a login: whether their refusal tells who has an account.

use super::*;

use password_reset::password::{Argon2id, Candidate, Login, LoginVerifier};

const WRONG: &str = "not the password";
/// Before the first sample: the pool's threads have their memory by then.
const WARM: usize = 12;

pub(super) fn measure(people: &People, samples: usize) -> Samples {
    let mut dice = Dice::new(samples as u64);
    let mut known: Vec<&String> = people.known.iter().collect();
    let mut unknown: Vec<&String> = people.unknown.iter().collect();
    dice.shuffle(&mut known);
    dice.shuffle(&mut unknown);
    let (mut known, mut unknown) = (known.into_iter().cycle(), unknown.into_iter().cycle());

    let mut taken = Samples::default();
    for _ in 0..WORLDS {
        let sampling = runtime(1);
        let pool = HashPool::new(Argon2id::default()).unwrap();
        let logins = sampling.block_on(LoginVerifier::new(pool)).unwrap();
        let mut order: Vec<usize> = (0..LABELS)
            .flat_map(|label| std::iter::repeat_n(label, samples / WORLDS))
            .collect();
        dice.shuffle(&mut order);
        sampling.block_on(async {
            let asked = &mut taken.asked;
            let mut one = async |label: usize| {
                *asked += 1;
                let typed = if label == 0 {
                    known.next()
                } else {
                    unknown.next()
                };
                refuse(&people.directory, &logins, typed.unwrap()).await
            };
            for sample in 0..WARM {
                one(sample % LABELS).await;
            }
            for label in order {
                let time = one(label).await;
                taken.request[label].push(time.as_secs_f64() * 1e9);
            }
        });
    }
    taken
}

/// What an application does between the form and the answer.
async fn refuse(users: &Directory, logins: &LoginVerifier, typed: &str) -> Duration {
    let typed = Identifier::parse(typed).unwrap();
    let candidate = Candidate::parse(WRONG).unwrap();
    let start = Instant::now();
    let account = users.find(&typed).await.unwrap();
    let stored = account.and_then(|account| match account.credential {
        Credential::Password(hash) => Some(hash),
        _ => None,
    });
    let login = logins.verify(candidate, stored.as_ref()).await;
    let time = start.elapsed();
    assert!(matches!(login, Ok(Login::Wrong)), "{login:?}");
    time
}
