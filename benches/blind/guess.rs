//! Wrong codes: whether their refusal tells who has an account.

use super::*;

use password_reset::flow::CodeError;

/// Fewer than make the record count as tried too often, which costs no hash.
const GUESSES: usize = 4;
const WRONG: &str = "00000000";

pub(super) fn measure(case: &Case, people: &People, samples: usize) -> Samples {
    let mut dice = Dice::new(samples as u64);
    let mut taken = Samples::default();
    for _ in 0..WORLDS {
        let working = runtime(2);
        let backends = working.block_on(Backends::new(case.store, 1_000_000));
        let users = Arc::new(people.directory.clone());
        let (relay, failures) = (Relay::default(), Failures::default());
        let flow = backends.flow(users, Arc::new(relay.clone()), |builder| {
            let pool = HashPool::new(InsecureHasher).unwrap();
            let builder = builder.hashing(pool).audit(failures.clone());
            let builder = builder.codes(Codes::default());
            // The worker is done before the first guess.
            builder.danger().spread(Duration::ZERO)
        });
        let labels = |count: usize| (0..LABELS).flat_map(move |l| std::iter::repeat_n(l, count));
        let each = samples / WORLDS;
        let mut asking: Vec<usize> = labels(each.div_ceil(GUESSES)).collect();
        dice.shuffle(&mut asking);
        let mut order: Vec<usize> = labels(each).collect();
        dice.shuffle(&mut order);

        let client = Client::unknown();
        let mut handles: [Vec<String>; LABELS] = Default::default();
        working.block_on(async {
            for label in asking {
                let from = if label == 0 {
                    &people.known
                } else {
                    &people.unknown
                };
                // Two of the labels take the unknown ones in turns.
                let next = handles[label].len() * 2 + label / 2;
                let typed = Identifier::parse(&from[next]).unwrap();
                let asked = flow.request_code(&typed, Channel::Mail, &client);
                handles[label].push(asked.await.unwrap().handle.to_string());
                taken.asked += 1;
            }
            taken.jobs += flow.worker().run_due().await.done;
        });
        for handles in &mut handles {
            let uses = std::iter::repeat_n(&*handles, GUESSES);
            *handles = uses.flatten().cloned().collect();
            dice.shuffle(handles);
        }
        runtime(1).block_on(async {
            for label in order {
                let handle = handles[label].pop().unwrap();
                let start = Instant::now();
                let refused = flow.redeem_code(&handle, WRONG, &client).await;
                let time = start.elapsed();
                assert!(matches!(refused, Err(CodeError::Invalid)));
                taken.request[label].push(time.as_secs_f64() * 1e9);
            }
        });
        taken.mails += relay.0.load(Ordering::Relaxed);
        assert_eq!(u64::from(taken.jobs), taken.asked, "a code was not made");
        assert_eq!(failures.0.load(Ordering::Relaxed), 0, "a backend failed");
    }
    taken
}
