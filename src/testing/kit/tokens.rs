//! Checks of the [`TokenStore`] contract.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::{Answered, RACERS, Race, at, cut, fresh, just_before, word};
use crate::account::{Tenant, UserId};
use crate::clock::Timestamp;
use crate::store::{Insert, Live, Reach, TokenStore};
use crate::token::state::{Claim, ClaimId, Hold, Revocation, Settlement, State};
use crate::token::{Epoch, KeyId, Purpose, Selector, TokenDigest, TokenRecord};

/// The one list of this trait's promises.
#[doc(hidden)]
#[macro_export]
macro_rules! __token_promises {
    ($then:ident $($rest:tt)*) => {
        $crate::$then! { [
            a_record_comes_back_as_it_went_in
            times_survive_the_round_trip
            every_state_survives_the_round_trip
            an_unknown_selector_is_nothing
            selectors_are_compared_byte_by_byte
            user_ids_are_case_sensitive
            user_ids_are_compared_byte_by_byte
            a_selector_is_never_replaced
            one_of_many_inserts_is_kept
            a_full_account_stores_nothing
            dead_tokens_take_no_place
            live_tokens_are_bounded_under_contention
            newest_supersedes_older_tokens
            newest_is_bounded_under_contention
            a_dropped_insert_takes_no_place
            one_claim_wins
            a_claim_is_exclusive_until_its_lease_is_over
            a_dropped_claim_is_only_a_lease
            a_spent_token_is_never_claimed_again
            a_revoked_token_is_never_claimed
            only_the_holder_settles
            abandoned_claims_have_one_finder
            the_longest_overdue_are_swept_first
            a_swept_claim_is_lost_to_its_holder
            the_holder_and_the_sweep_never_both_win
            a_revoked_claim_is_still_swept
            a_released_token_is_watched
            a_spent_token_leaves_the_sweep
            every_attempt_is_counted
            racing_writes_lose_nothing
            revoking_one_spares_the_others
            revoking_reaches_every_open_token_of_one_user
            a_closed_token_leaves_the_sweep
            revoking_siblings_spares_later_tokens
            purge_removes_only_dead_records
            purge_stops_at_its_limit
        ] $($rest)* }
    };
}

/// Writes one test for each promise of a [`TokenStore`]; see [`testing::kit`](crate::testing::kit).
#[macro_export]
macro_rules! conformance_tokens {
    ($($tests:tt)+) => { $crate::__token_promises! { __conformance_tests tokens $($tests)+ } };
}

crate::__token_promises! { __conformance_checks dyn TokenStore }

const LIFE: Duration = Duration::from_secs(30 * 60);
const MANY: Live = Live::at_most(NonZeroU32::MAX);

fn at_most(count: u32) -> Live {
    Live::at_most(count.try_into().expect("not zero"))
}

fn newest(count: u32) -> Live {
    Live::newest(count.try_into().expect("not zero"))
}

type Store = Arc<dyn TokenStore>;

fn user() -> UserId {
    named(&word())
}

fn named(name: &str) -> UserId {
    UserId::parse(name).expect("the kit's user ids are valid")
}

fn claim_id() -> ClaimId {
    ClaimId::from_bytes(fresh())
}

/// A live record of `user`, made at `issued`, good for half an hour.
fn record(user: &UserId, issued: Timestamp) -> TokenRecord {
    TokenRecord::new(
        Selector::from_bytes(fresh()),
        Purpose::Reset,
        None,
        user.clone(),
        Epoch::from_bytes(fresh()),
        KeyId(7),
        TokenDigest::from_bytes(fresh()),
        issued,
        issued + LIFE,
    )
}

/// The store, with every failure a panic.
#[derive(Clone)]
struct Probe(Store);

impl Probe {
    async fn insert(&self, record: &TokenRecord, live: Live) -> Insert {
        self.0.insert(record, live).await.answered("insert")
    }

    /// A stored record of `user`.
    async fn stored(&self, user: &UserId, issued: Timestamp) -> TokenRecord {
        let record = record(user, issued);
        assert_eq!(
            self.insert(&record, MANY).await,
            Insert::Done,
            "an account without live tokens has room"
        );
        record
    }

    /// A record of `user` that somebody claimed at `at(0)`.
    async fn claimed(&self, user: &UserId, until: Timestamp) -> (TokenRecord, ClaimId) {
        let record = self.stored(user, at(0)).await;
        let claim = claim_id();
        assert_eq!(
            self.claim(&record, claim, at(0), until).await,
            Claim::Won,
            "a live token that nobody holds can be claimed; otherwise no reset succeeds"
        );
        (record, claim)
    }

    async fn look_up(&self, selector: &Selector) -> Option<TokenRecord> {
        self.0.find(selector).await.answered("find")
    }

    async fn find(&self, record: &TokenRecord) -> TokenRecord {
        self.look_up(&record.selector)
            .await
            .expect("a stored record is found; otherwise its link is dead")
    }

    async fn state(&self, record: &TokenRecord) -> State {
        self.find(record).await.state
    }

    async fn claim(
        &self,
        record: &TokenRecord,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
    ) -> Claim {
        let answer = self.0.claim(&record.selector, claim, now, until).await;
        answer.answered("claim")
    }

    async fn settle(&self, record: &TokenRecord, claim: ClaimId, how: Settlement) -> bool {
        let answer = self.0.settle(&record.selector, claim, how).await;
        answer.answered("settle")
    }

    async fn spend(&self, record: &TokenRecord, claim: ClaimId) -> bool {
        self.settle(record, claim, Settlement::Spent { at: at(1) })
            .await
    }

    async fn release(&self, record: &TokenRecord, claim: ClaimId, check_at: Timestamp) -> bool {
        self.settle(record, claim, Settlement::Released { check_at })
            .await
    }

    async fn sweep(
        &self,
        claim: ClaimId,
        now: Timestamp,
        until: Timestamp,
        max: u32,
    ) -> Vec<TokenRecord> {
        let answer = self.0.abandoned(claim, now, until, max).await;
        answer.answered("abandoned")
    }

    /// The selectors that a sweep at `now` finds; it holds them for a minute.
    async fn swept(&self, now: Timestamp) -> HashSet<Selector> {
        let until = now + Duration::from_secs(60);
        let found = self.sweep(claim_id(), now, until, 1_000).await;
        found.into_iter().map(|record| record.selector).collect()
    }

    async fn attempt(&self, record: &TokenRecord) -> Option<u32> {
        let answer = self.0.count_attempt(&record.selector).await;
        answer.answered("count_attempt")
    }

    async fn revoke(&self, record: &TokenRecord, why: Revocation) -> bool {
        let answer = self.0.revoke(&record.selector, at(2), why).await;
        answer.answered("revoke")
    }

    async fn close(&self, record: &TokenRecord, claim: ClaimId) -> bool {
        self.settle(record, claim, Settlement::Closed).await
    }

    async fn revoke_all(&self, user: &UserId) -> u64 {
        let answer = self
            .0
            .revoke_all(user, Reach::All, at(3), Revocation::PasswordChanged);
        answer.await.answered("revoke_all")
    }

    async fn purge(&self, expired_before: Timestamp, limit: u32) -> u64 {
        let answer = self.0.purge(expired_before, limit).await;
        answer.answered("purge")
    }

    async fn assert_same(&self, stored: &TokenRecord) {
        let found = self.find(stored).await;
        let why =
            "came back changed: the digest covers it, so every token of this store is refused";
        assert_eq!(found.selector, stored.selector, "the selector {why}");
        assert_eq!(found.purpose, stored.purpose, "the purpose {why}");
        assert_eq!(found.tenant, stored.tenant, "the tenant {why}");
        assert_eq!(found.user, stored.user, "the user {why}");
        assert_eq!(
            found.epoch.as_bytes(),
            stored.epoch.as_bytes(),
            "the epoch {why}"
        );
        assert_eq!(found.key, stored.key, "the key's id {why}");
        assert_eq!(
            found.digest.as_bytes(),
            stored.digest.as_bytes(),
            "the digest {why}"
        );
        assert_eq!(found.issued_at, stored.issued_at, "issued_at {why}");
        assert_eq!(found.expires_at, stored.expires_at, "expires_at {why}");
        assert_eq!(found.state, stored.state, "the state came back changed");
        assert_eq!(
            found.attempts, stored.attempts,
            "the tries came back changed"
        );
    }
}

/// Every field of a record survives: bytes, texts, tenants, the largest key id.
pub async fn a_record_comes_back_as_it_went_in(store: Store, _: Race) {
    let store = Probe(store);
    let mut records = Vec::new();
    for tenant in [None, Some("acme"), Some("Größe 東京 'a\\b\"%_;--")] {
        for (key, byte) in [(0, 0x00), (1, 0x27), (u32::MAX, 0xff)] {
            let mut record = record(&user(), at(0));
            record.tenant = tenant.map(|name| Tenant::parse(name).expect("a valid tenant"));
            record.key = KeyId(key);
            record.epoch = Epoch::from_bytes([byte; 32]);
            record.digest = TokenDigest::from_bytes([byte; 32]);
            records.push(record);
        }
    }
    for purpose in Purpose::ALL {
        let mut record = record(&user(), at(0));
        record.purpose = *purpose;
        records.push(record);
    }
    for name in ["7", "O'Brien; DROP TABLE--", &"ü".repeat(64), "00042"] {
        records.push(record(&named(name), at(0)));
    }
    for record in &records {
        assert_eq!(store.insert(record, MANY).await, Insert::Done);
    }
    for record in &records {
        store.assert_same(record).await;
    }
}

/// Times survive to the microsecond, far from today.
pub async fn times_survive_the_round_trip(store: Store, _: Race) {
    const END_OF_9999: i64 = 253_402_300_799;
    let store = Probe(store);
    // After the epoch, and around the ends of signed and unsigned 32-bit seconds (2038, 2106) and
    // of 64-bit nanoseconds (2262).
    for second in [1, 2_147_483_647, 4_294_967_295, 9_223_372_036, END_OF_9999] {
        for micros in [1, 500_000, 999_999] {
            let issued = Timestamp::from_unix_micros(second * 1_000_000 + micros);
            let mut record = record(&user(), issued - LIFE);
            record.expires_at = issued;
            assert_eq!(store.insert(&record, MANY).await, Insert::Done);
            store.assert_same(&record).await;
            let (claim, until) = (claim_id(), issued);
            assert_eq!(
                store.claim(&record, claim, issued - LIFE, until).await,
                Claim::Won
            );
            record.state.hold = Hold::Claimed { claim, until };
            store.assert_same(&record).await;
        }
    }
}

/// What a transition wrote is read back: holds, moments, every reason.
pub async fn every_state_survives_the_round_trip(store: Store, _: Race) {
    let store = Probe(store);
    for why in [
        Revocation::Superseded,
        Revocation::PasswordChanged,
        Revocation::Undelivered,
        Revocation::Requested,
    ] {
        let mut free = store.stored(&user(), at(0)).await;
        assert!(store.revoke(&free, why).await);
        free.state.revoked = Some((at(2), why));
        store.assert_same(&free).await;

        let until = at(60);
        let (mut held, claim) = store.claimed(&user(), until).await;
        held.state.hold = Hold::Claimed { claim, until };
        store.assert_same(&held).await;
        assert!(store.revoke(&held, why).await);
        held.state.revoked = Some((at(2), why));
        store.assert_same(&held).await;
        assert!(store.spend(&held, claim).await);
        held.state.spent_at = Some(at(1));
        store.assert_same(&held).await;

        let (mut let_go, claim) = store.claimed(&user(), until).await;
        assert!(store.release(&let_go, claim, at(90)).await);
        let_go.state.hold = Hold::Watched { until: at(90) };
        store.assert_same(&let_go).await;
    }
}

/// Every call on a selector that was never stored answers "nothing".
pub async fn an_unknown_selector_is_nothing(store: Store, _: Race) {
    let store = Probe(store);
    let known = store.stored(&user(), at(0)).await;
    let nobody = record(&known.user, at(0));
    let why = "a token that was never issued must open nothing";
    assert!(store.look_up(&nobody.selector).await.is_none(), "{why}");
    let claim = store.claim(&nobody, claim_id(), at(0), at(60)).await;
    assert_eq!(claim, Claim::Refused, "{why}");
    assert!(!store.spend(&nobody, claim_id()).await, "{why}");
    assert_eq!(store.attempt(&nobody).await, None, "{why}");
    assert!(!store.revoke(&nobody, Revocation::Requested).await, "{why}");
    store.assert_same(&known).await;
}

/// Selectors that look alike as text, as a prefix or padded are different.
pub async fn selectors_are_compared_byte_by_byte(store: Store, _: Race) {
    let store = Probe(store);
    let mut family = vec![
        *b"SELECTORSELECTOR",
        *b"selectorselector",
        [0x20; 16],
        [0xfe; 16],
    ];
    for last in [b'R', b' ', 0x00, 0x7f, 0x80, 0xff] {
        let mut selector = *b"selectorselector";
        let [.., end] = &mut selector;
        *end = last;
        family.push(selector);
    }
    family.extend([[0x00; 16], [0xff; 16]]);
    let mut records = Vec::new();
    for selector in family {
        let mut record = record(&user(), at(0));
        record.selector = Selector::from_bytes(selector);
        let inserted = store.0.insert(&record, MANY).await;
        assert!(
            matches!(inserted, Ok(Insert::Done)),
            "selectors of other bytes are other selectors: {}",
            record.selector
        );
        records.push(record);
    }
    for record in &mut records {
        let (claim, until) = (claim_id(), at(60));
        let answer = store.claim(record, claim, at(0), until).await;
        assert_eq!(
            answer,
            Claim::Won,
            "one token's claim must not hold another token"
        );
        record.state.hold = Hold::Claimed { claim, until };
    }
    for record in &records {
        store.assert_same(record).await;
    }
}

async fn assert_all_differ(store: &Probe, names: &[&str]) {
    let mut records = Vec::new();
    for name in names {
        let record = record(&named(name), at(0));
        let inserted = store.insert(&record, at_most(1)).await;
        assert_eq!(
            inserted,
            Insert::Done,
            "the user {name:?} is taken for somebody else, whose tokens block theirs"
        );
        records.push(record);
    }
    let Some((first, others)) = records.split_first() else {
        return;
    };
    let reached = store.revoke_all(&first.user).await;
    assert_eq!(
        reached, 1,
        "one person's reset revokes another person's tokens"
    );
    for record in others {
        store.assert_same(record).await;
    }
}

/// `alice` and `Alice` are two people.
pub async fn user_ids_are_case_sensitive(store: Store, _: Race) {
    let store = Probe(store);
    assert_all_differ(&store, &["alice", "Alice", "ALICE", "alicE"]).await;
    assert_all_differ(&store, &["É-7", "é-7", "Σ-7", "σ-7", "ς-7"]).await;
}

/// User ids that a collation, a normal form or a pattern would take for one are several.
pub async fn user_ids_are_compared_byte_by_byte(store: Store, _: Race) {
    let store = Probe(store);
    // Precomposed and decomposed, accents, ligatures, widths and a Kelvin sign.
    assert_all_differ(&store, &["caf\u{e9}", "cafe\u{301}", "cafe"]).await;
    assert_all_differ(&store, &["strasse", "straße", "straẞe"]).await;
    assert_all_differ(&store, &["k", "\u{ff4b}", "\u{212a}"]).await;
    // Characters that are ignored, or look like a space at the end.
    assert_all_differ(&store, &["bob", "b\u{ad}ob", "bob\u{2800}", "bob\u{3164}"]).await;
    // Patterns, numbers and what is put around them.
    assert_all_differ(&store, &["%", "_", "a_b", "axb", "a%", "\\%", "*", "?"]).await;
    assert_all_differ(
        &store,
        &["42", "042", "42.0", "4.2e1", "+42", "{42}", "42:"],
    )
    .await;
    // Pieces of a query (W25).
    let pieces = [
        "1",
        "?1",
        "$1",
        "' OR 1=1--",
        "1; DROP TABLE users",
        "{\"$ne\":1}",
    ];
    assert_all_differ(&store, &pieces).await;
}

/// A second record under a taken selector is refused and changes nothing.
pub async fn a_selector_is_never_replaced(store: Store, _: Race) {
    let store = Probe(store);
    for user_of_the_second in [None, Some(user())] {
        let (mut first, claim) = store.claimed(&user(), at(60)).await;
        assert!(store.spend(&first, claim).await);
        first.state = store.state(&first).await;
        let owner = user_of_the_second.unwrap_or_else(|| first.user.clone());
        let mut second = record(&owner, at(1));
        second.selector = first.selector;
        let answer = store.0.insert(&second, newest(1)).await;
        assert!(
            !matches!(answer, Ok(Insert::Done)),
            "a taken selector was stored a second time"
        );
        assert_eq!(
            store.state(&first).await,
            first.state,
            "inserting brought a spent token back to life"
        );
        store.assert_same(&first).await;
    }
}

/// Of many inserts of one selector at once one is done; what was counted since stays counted. Codes
/// rely on it: the first to try one makes the count of all tries of its account.
pub async fn one_of_many_inserts_is_kept(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let record = record(&user(), at(0));
        let answers = race
            .run((0..RACERS).map(|_| {
                let (store, record) = (store.clone(), record.clone());
                async move {
                    let answer = store.0.insert(&record, MANY).await;
                    (
                        matches!(answer, Ok(Insert::Done)),
                        store.attempt(&record).await,
                    )
                }
            }))
            .await;
        let done = answers.iter().filter(|(done, _)| *done).count();
        assert_eq!(done, 1, "a selector was stored more than once");
        let mut counts: Vec<_> = answers.into_iter().map(|(_, count)| count).collect();
        counts.sort_unstable();
        let expected: Vec<_> = (1..).take(RACERS).map(Some).collect();
        assert_eq!(
            counts, expected,
            "an insert began the count anew: a code can be guessed"
        );
        assert_eq!(store.find(&record).await.attempts, 64, "tries were lost");
    }
}

/// `Full` stores nothing, voids nothing, and concerns one account only.
pub async fn a_full_account_stores_nothing(store: Store, _: Race) {
    let store = Probe(store);
    let (owner, other) = (user(), user());
    let held = [
        store.stored(&owner, at(0)).await,
        store.stored(&owner, at(1)).await,
    ];
    let third = record(&owner, at(2));
    let why = "anyone who asks often enough fills the table";
    assert_eq!(
        store.insert(&third, at_most(2)).await,
        Insert::Full,
        "{why}"
    );
    assert!(store.look_up(&third.selector).await.is_none(), "{why}");
    for record in &held {
        store.assert_same(record).await;
    }
    let others = record(&other, at(2));
    let answer = store.insert(&others, at_most(2)).await;
    assert_eq!(
        answer,
        Insert::Done,
        "one account's tokens take another's places"
    );
    let answer = store.insert(&third, at_most(3)).await;
    assert_eq!(answer, Insert::Done, "`Full` took a place");
}

/// Expired, spent and revoked tokens take no place; claimed ones do.
pub async fn dead_tokens_take_no_place(store: Store, _: Race) {
    let store = Probe(store);
    let owner = user();
    let first = store.stored(&owner, at(0)).await;
    let one = at_most(1);
    let early = record(&owner, just_before(first.expires_at));
    let answer = store.insert(&early, one).await;
    assert_eq!(
        answer,
        Insert::Full,
        "a token is live until the moment it expires"
    );
    let why = "the owner cannot get a link although none of the old ones works";
    let second = record(&owner, first.expires_at);
    assert_eq!(
        store.insert(&second, one).await,
        Insert::Done,
        "expired: {why}"
    );

    assert!(store.revoke(&second, Revocation::Undelivered).await);
    let third = record(&owner, first.expires_at + Duration::from_micros(1));
    assert_eq!(
        store.insert(&third, one).await,
        Insert::Done,
        "revoked: {why}"
    );

    let now = third.issued_at;
    let claim = claim_id();
    assert_eq!(
        store.claim(&third, claim, now, now + LIFE).await,
        Claim::Won
    );
    let fourth = record(&owner, now + Duration::from_secs(1));
    let answer = store.insert(&fourth, one).await;
    assert_eq!(answer, Insert::Full, "a claimed token is live");
    assert!(store.spend(&third, claim).await);
    assert_eq!(
        store.insert(&fourth, one).await,
        Insert::Done,
        "spent: {why}"
    );
}

/// 64 inserts at once fill three places, not four.
pub async fn live_tokens_are_bounded_under_contention(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let owner = user();
        let answers = race
            .run((0..RACERS).map(|_| {
                let (store, record) = (store.clone(), record(&owner, at(0)));
                async move { (store.insert(&record, at_most(3)).await, record) }
            }))
            .await;
        let mut done = 0;
        for (answer, record) in answers {
            let stored = store.look_up(&record.selector).await.is_some();
            assert_eq!(stored, answer == Insert::Done, "the answer was {answer:?}");
            done += usize::from(stored);
        }
        assert_eq!(
            done, 3,
            "parallel requests stored {done} tokens where 3 are allowed: \
             every one of them is another link to steal"
        );
    }
}

/// `Newest(2)` keeps the new token and the newest of the others.
pub async fn newest_supersedes_older_tokens(store: Store, _: Race) {
    let store = Probe(store);
    let owner = user();
    let bystander = store.stored(&user(), at(0)).await;
    let insert = async |seconds| {
        let record = record(&owner, at(seconds));
        assert_eq!(store.insert(&record, newest(2)).await, Insert::Done);
        record
    };
    let open = async |record: &TokenRecord| store.state(record).await.is_open();
    let first = insert(0).await;
    let second = insert(20).await;
    let (claim, until) = (claim_id(), at(60));
    assert_eq!(store.claim(&first, claim, at(20), until).await, Claim::Won);
    // Made before the second one, stored after it: what counts is when a token was made.
    let third = insert(10).await;
    let why = "a link that was superseded still works (W31)";
    assert!(!open(&first).await, "{why}");
    assert!(
        open(&second).await && open(&third).await,
        "the newest token was voided"
    );
    let superseded = State {
        revoked: Some((at(10), Revocation::Superseded)),
        hold: Hold::Claimed { claim, until },
        ..State::LIVE
    };
    assert_eq!(
        store.state(&first).await,
        superseded,
        "the sweep loses a claim"
    );
    let fourth = insert(30).await;
    assert!(!open(&third).await, "{why}");
    assert!(
        open(&second).await && open(&fourth).await,
        "the newest token was voided"
    );
    store.assert_same(&bystander).await;
}

/// 64 inserts at once leave as many live tokens as `Newest` says.
pub async fn newest_is_bounded_under_contention(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let owner = user();
        let records = race
            .run((0..).take(RACERS).map(|second| {
                let (store, record) = (store.clone(), record(&owner, at(second)));
                async move {
                    assert_eq!(store.insert(&record, newest(2)).await, Insert::Done);
                    record
                }
            }))
            .await;
        let mut open = 0;
        for record in &records {
            open += usize::from(store.state(record).await.is_open());
        }
        assert_eq!(open, 2, "links that were superseded still work (W31)");
    }
}

/// A client that hangs up during `insert` leaves a record or nothing, never a lost place.
pub async fn a_dropped_insert_takes_no_place(store: Store, race: Race) {
    let store = Probe(store);
    for round in 0..race.rounds {
        let owner = user();
        let mut records = Vec::new();
        for polls in 1..=2 {
            let record = record(&owner, at(0));
            let _ = cut(store.0.insert(&record, at_most(3)), polls + round % 8).await;
            records.push(record);
        }
        for _ in 0..4 {
            let record = record(&owner, at(0));
            let _ = store.insert(&record, at_most(3)).await;
            records.push(record);
        }
        let mut stored = 0;
        for record in &records {
            stored += u32::from(store.look_up(&record.selector).await.is_some());
        }
        assert_eq!(
            stored, 3,
            "an insert that was cut off left something half done: \
             places without a token lock the owner out, tokens without a place are unbounded"
        );
    }
}

/// Of 64 claims one wins, and the record says which.
pub async fn one_claim_wins(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let record = store.stored(&user(), at(0)).await;
        let until = at(120);
        let answers = race
            .run((0..RACERS).map(|_| {
                let (store, record, claim) = (store.clone(), record.clone(), claim_id());
                async move { (store.claim(&record, claim, at(0), until).await, claim) }
            }))
            .await;
        let won: Vec<_> = answers.iter().filter(|(a, _)| *a == Claim::Won).collect();
        let &[&(_, claim)] = won.as_slice() else {
            panic!(
                "{} of {RACERS} parallel claims won: one stolen token changes as many passwords \
                 (W27)",
                won.len()
            );
        };
        assert!(
            answers.iter().all(|(a, _)| *a != Claim::Refused),
            "a live token was refused"
        );
        let hold = Hold::Claimed { claim, until };
        assert_eq!(
            store.state(&record).await.hold,
            hold,
            "the winner is not the holder"
        );
    }
}

/// A claim excludes everyone, its own id included, until exactly the end of its lease.
pub async fn a_claim_is_exclusive_until_its_lease_is_over(store: Store, _: Race) {
    let store = Probe(store);
    let until = at(60);
    let (record, first) = store.claimed(&user(), until).await;
    let second = claim_id();
    for now in [at(-60), at(0), at(30), just_before(until)] {
        for claim in [first, second] {
            let answer = store.claim(&record, claim, now, at(600)).await;
            assert_eq!(
                answer,
                Claim::Held,
                "two processes change the password with one token (W27)"
            );
        }
    }
    let hold = Hold::Claimed {
        claim: first,
        until,
    };
    assert_eq!(
        store.state(&record).await.hold,
        hold,
        "a lost claim moved the lease"
    );
    let answer = store.claim(&record, second, until, at(600)).await;
    assert_eq!(
        answer,
        Claim::Won,
        "a crash makes the owner's link useless for ever"
    );
    assert!(
        !store.spend(&record, first).await,
        "a claim that was taken over still settles"
    );
    assert!(
        store.spend(&record, second).await,
        "the new holder cannot settle"
    );
}

/// A client that hangs up during `claim` holds the token for its lease at most.
pub async fn a_dropped_claim_is_only_a_lease(store: Store, race: Race) {
    let store = Probe(store);
    for round in 0..race.rounds {
        let record = store.stored(&user(), at(0)).await;
        let (first, second) = (claim_id(), claim_id());
        let call = store.0.claim(&record.selector, first, at(0), at(60));
        let _ = cut(call, 1 + round % 8).await;
        let answer = store.claim(&record, second, at(60), at(120)).await;
        assert_eq!(
            answer,
            Claim::Won,
            "a claim that was cut off blocks the owner's link"
        );
        assert!(
            store.spend(&record, second).await,
            "a claim that was cut off still holds"
        );
        let answer = store.claim(&record, first, at(120), at(180)).await;
        assert_eq!(
            answer,
            Claim::Refused,
            "a claim that was cut off comes back"
        );
    }
}

/// Spent is final, whatever the lease said, also for 64 claims at once.
pub async fn a_spent_token_is_never_claimed_again(store: Store, race: Race) {
    let store = Probe(store);
    let why = "a used link works again for whoever finds it (W28)";
    let (record, claim) = store.claimed(&user(), at(60)).await;
    assert!(
        store.spend(&record, claim).await,
        "the holder settles its claim"
    );
    let spent = store.state(&record).await;
    for now in [
        at(0),
        at(59),
        at(60),
        at(3_600),
        record.expires_at,
        at(31_536_000),
    ] {
        for id in [claim, claim_id()] {
            let answer = store.claim(&record, id, now, now + LIFE).await;
            assert_eq!(answer, Claim::Refused, "{why}");
        }
    }
    assert!(!store.release(&record, claim, at(90)).await, "{why}");
    assert!(!store.spend(&record, claim).await, "spent twice");
    assert!(
        !store.revoke(&record, Revocation::Requested).await,
        "spent is final"
    );
    assert_eq!(store.state(&record).await, spent, "{why}");
    let answers = race
        .run((0..RACERS).map(|_| {
            let (store, record) = (store.clone(), record.clone());
            async move { store.claim(&record, claim_id(), at(60), at(120)).await }
        }))
        .await;
    assert!(
        answers.iter().all(|answer| *answer == Claim::Refused),
        "{why}"
    );
}

/// Revoked is final for whoever presents the token, also after a lease or a release.
pub async fn a_revoked_token_is_never_claimed(store: Store, _: Race) {
    let store = Probe(store);
    let why = "a link that was revoked, for example by the first success, still works (W28)";
    let owner = user();
    let free = store.stored(&owner, at(0)).await;
    let (held, _) = store.claimed(&owner, at(60)).await;
    let (let_go, claim) = store.claimed(&owner, at(60)).await;
    assert!(store.release(&let_go, claim, at(60)).await);
    let (released_later, late) = store.claimed(&owner, at(60)).await;
    let alone = store.stored(&user(), at(0)).await;
    assert!(store.revoke(&alone, Revocation::Requested).await);
    assert_eq!(store.revoke_all(&owner).await, 4, "{why}");
    assert!(
        store.release(&released_later, late, at(50)).await,
        "the holder of a revoked token may still let go"
    );
    for record in [free, held, let_go, released_later, alone] {
        for now in [at(3), at(60), record.expires_at] {
            let answer = store.claim(&record, claim_id(), now, now + LIFE).await;
            assert_eq!(answer, Claim::Refused, "{why}");
        }
    }
}

/// Only the present holder settles; until somebody takes over, the holder may be late.
pub async fn only_the_holder_settles(store: Store, _: Race) {
    let store = Probe(store);
    let why = "a late process frees or spends a token that another one is spending";
    let free = store.stored(&user(), at(0)).await;
    assert!(
        !store.spend(&free, claim_id()).await,
        "nobody holds this token"
    );
    assert!(
        !store.release(&free, claim_id(), at(9)).await,
        "nobody holds this token"
    );
    store.assert_same(&free).await;

    let until = at(60);
    let (record, holder) = store.claimed(&user(), until).await;
    let held = store.state(&record).await;
    for stranger in [claim_id(), ClaimId::from_bytes([0; 16])] {
        assert!(!store.spend(&record, stranger).await, "{why}");
        assert!(!store.release(&record, stranger, at(1)).await, "{why}");
        assert_eq!(store.state(&record).await, held, "{why}");
    }
    assert!(
        store.release(&record, holder, at(90)).await,
        "the holder cannot let go"
    );
    assert!(
        !store.spend(&record, holder).await,
        "a claim that was let go still settles"
    );

    let second = claim_id();
    assert_eq!(
        store.claim(&record, second, at(61), at(121)).await,
        Claim::Won
    );
    assert!(!store.spend(&record, holder).await, "{why}");
    assert!(!store.release(&record, holder, at(1)).await, "{why}");
    // Settling takes no time as an argument: it is the holder's as long as nobody took over.
    let late = Settlement::Spent { at: at(1_000) };
    assert!(
        store.settle(&record, second, late).await,
        "a late holder cannot finish"
    );
}

/// Sweeps that race share the abandoned claims among them, each record once.
pub async fn abandoned_claims_have_one_finder(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let until = at(60);
        let mut missing = HashSet::new();
        for _ in 0..8 {
            let (record, _) = store.claimed(&user(), until).await;
            missing.insert(record.selector);
        }
        let later = at(120);
        let sweep = |store: Probe| async move {
            let claim = claim_id();
            (claim, store.sweep(claim, until, later, 3).await)
        };
        let mut found = race.run((0..RACERS).map(|_| sweep(store.clone()))).await;
        // Sweeps that met may have left some behind; the next ones find them.
        for _ in 0..8 {
            found.push(sweep(store.clone()).await);
        }
        for (claim, records) in found {
            assert!(records.len() <= 3, "a sweep found more than it asked for");
            for record in records {
                assert!(
                    missing.remove(&record.selector),
                    "two workers settle one change: its owner is told twice, or a worker that \
                     lost the lease undoes the other's work"
                );
                let hold = Hold::Claimed {
                    claim,
                    until: later,
                };
                assert_eq!(
                    record.state.hold, hold,
                    "the sweep answers records as they are now"
                );
                assert!(
                    store.spend(&record, claim).await,
                    "the finder is not the holder"
                );
            }
        }
        assert!(
            missing.is_empty(),
            "an abandoned claim was not found: a changed password is never settled, its thief's \
             sessions stay"
        );
    }
}

/// The sweep takes the longest overdue first, and no more than asked.
pub async fn the_longest_overdue_are_swept_first(store: Store, _: Race) {
    let store = Probe(store);
    let mut due = Vec::new();
    for second in [50, 10, 40, 20, 30, 60] {
        let (record, _) = store.claimed(&user(), at(second)).await;
        due.push((second, record.selector));
    }
    due.sort_unstable();
    let sweep = async |now, max| {
        let found = store.sweep(claim_id(), now, at(1_000), max).await;
        found
            .into_iter()
            .map(|r| r.selector)
            .collect::<HashSet<_>>()
    };
    let why = "under load some changed password is never settled";
    assert!(sweep(at(55), 0).await.is_empty(), "at most none");
    for pair in due.chunks(2).take(2) {
        let expected: HashSet<_> = pair.iter().map(|(_, selector)| *selector).collect();
        assert_eq!(sweep(at(55), 2).await, expected, "{why}");
    }
    let [.., (_, fifth), (_, last)] = due.as_slice() else {
        return;
    };
    assert_eq!(sweep(at(55), 2).await, HashSet::from([*fifth]), "{why}");
    assert!(
        sweep(just_before(at(60)), 2).await.is_empty(),
        "a lease was cut short"
    );
    assert_eq!(sweep(at(60), 2).await, HashSet::from([*last]), "{why}");
}

/// After the sweep the old holder settles nothing, and nobody claims.
pub async fn a_swept_claim_is_lost_to_its_holder(store: Store, _: Race) {
    let store = Probe(store);
    let (record, holder) = store.claimed(&user(), at(60)).await;
    let finder = claim_id();
    assert_eq!(store.sweep(finder, at(60), at(120), 10).await.len(), 1);
    let why = "a process that was paused settles what the sweep is settling";
    assert!(!store.spend(&record, holder).await, "{why}");
    assert!(!store.release(&record, holder, at(70)).await, "{why}");
    let answer = store.claim(&record, claim_id(), at(119), at(200)).await;
    assert_eq!(
        answer,
        Claim::Held,
        "a token is claimed while the sweep holds it"
    );
    assert!(
        store
            .sweep(claim_id(), at(119), at(200), 10)
            .await
            .is_empty()
    );
    assert!(
        store.release(&record, finder, at(200)).await,
        "the sweep cannot let go"
    );
}

/// A late holder races the sweep: one of them has the record, never both, never neither.
pub async fn the_holder_and_the_sweep_never_both_win(store: Store, race: Race) {
    let store = Probe(store);
    for round in race.turns() {
        let (record, holder) = store.claimed(&user(), at(60)).await;
        let wins = race
            .run((0..RACERS).map(|racer| {
                let (store, record) = (store.clone(), record.clone());
                async move {
                    if (racer + round) % 2 == 0 {
                        return store.spend(&record, holder).await;
                    }
                    let found = store.sweep(claim_id(), at(60), at(120), 10).await;
                    found.iter().any(|found| found.selector == record.selector)
                }
            }))
            .await;
        let wins = wins.into_iter().filter(|won| *won).count();
        assert_eq!(wins, 1, "a change is settled by two processes, or by none");
        let _ = store.swept(at(120)).await;
    }
}

/// Revoking does not hide a claim from the sweep.
pub async fn a_revoked_claim_is_still_swept(store: Store, _: Race) {
    let store = Probe(store);
    let owner = user();
    let (first, _) = store.claimed(&user(), at(60)).await;
    let (second, _) = store.claimed(&owner, at(60)).await;
    assert!(store.revoke(&first, Revocation::Requested).await);
    assert_eq!(store.revoke_all(&owner).await, 1);
    assert!(
        store
            .sweep(claim_id(), just_before(at(60)), at(90), 10)
            .await
            .is_empty()
    );
    let finder = claim_id();
    let found = store.sweep(finder, at(60), at(90), 10).await;
    let why = "its holder may have changed the password: nobody ends the thief's sessions";
    assert_eq!(found.len(), 2, "a revoked claim was not found; {why}");
    assert!(
        found.iter().all(|record| record.state.revoked.is_some()),
        "{why}"
    );
    assert!(
        store.spend(&first, finder).await,
        "the sweep settles a revoked token"
    );
    assert_eq!(
        store.swept(at(90)).await,
        HashSet::from([second.selector]),
        "{why}"
    );
}

/// A token that was let go can be claimed at once, and the sweep looks at it again.
pub async fn a_released_token_is_watched(store: Store, _: Race) {
    let store = Probe(store);
    let (record, holder) = store.claimed(&user(), at(60)).await;
    assert!(store.release(&record, holder, at(100)).await);
    let only = HashSet::from([record.selector]);
    let why = "a process that was paused past its lease may still change the password, and nobody \
               looks";
    assert!(
        store.swept(just_before(at(100))).await.is_empty(),
        "looked too early"
    );
    let finder = claim_id();
    let found = store.sweep(finder, at(100), at(160), 10).await;
    assert_eq!(found.len(), 1, "{why}");
    // The sweep lets go in turn, and comes back in turn.
    assert!(store.release(&record, finder, at(200)).await);
    let owner = claim_id();
    let answer = store.claim(&record, owner, at(150), at(210)).await;
    assert_eq!(
        answer,
        Claim::Won,
        "a failed try makes the owner's link useless"
    );
    assert!(
        store.swept(at(200)).await.is_empty(),
        "swept while it is held"
    );
    assert!(store.release(&record, owner, at(300)).await);
    assert!(store.revoke(&record, Revocation::Requested).await);
    assert_eq!(store.swept(at(300)).await, only, "{why}");
}

/// What was settled in full is not looked at again.
pub async fn a_spent_token_leaves_the_sweep(store: Store, _: Race) {
    let store = Probe(store);
    let (record, holder) = store.claimed(&user(), at(60)).await;
    assert!(store.revoke(&record, Revocation::PasswordChanged).await);
    assert!(
        store.spend(&record, holder).await,
        "a holder settles a token that was revoked"
    );
    assert!(
        store.swept(at(100_000)).await.is_empty(),
        "the sweep never ends, and with it the notices and the ended sessions"
    );
}

/// 64 tries at once count as 64, each with its own number.
pub async fn every_attempt_is_counted(store: Store, race: Race) {
    let store = Probe(store);
    for _ in 0..race.rounds {
        let record = store.stored(&user(), at(0)).await;
        let other = store.stored(&record.user, at(0)).await;
        let mut counts = race
            .run((0..RACERS).map(|_| {
                let (store, record) = (store.clone(), record.clone());
                async move { store.attempt(&record).await }
            }))
            .await;
        counts.sort_unstable();
        let expected: Vec<_> = (1..).take(RACERS).map(Some).collect();
        assert_eq!(
            counts, expected,
            "parallel guesses are counted as fewer: a code can be guessed"
        );
        assert_eq!(
            store.find(&record).await.attempts,
            64,
            "the tries are not kept"
        );
        assert_eq!(
            store.find(&other).await.attempts,
            0,
            "another token's tries were used up"
        );
    }
}

/// Calls on one record that race change their own part of it and nothing else.
pub async fn racing_writes_lose_nothing(store: Store, race: Race) {
    let store = Probe(store);
    for round in race.turns() {
        let (spent, holder) = store.claimed(&user(), at(60)).await;
        let (revoked, _) = store.claimed(&user(), at(60)).await;
        race.run((0..RACERS).map(|racer| {
            let (store, spent, revoked) = (store.clone(), spent.clone(), revoked.clone());
            let racer = (racer + round) % RACERS;
            async move {
                match racer % 4 {
                    0 if racer == 32 => assert!(store.spend(&spent, holder).await),
                    0 if racer == 36 => assert_eq!(store.revoke_all(&revoked.user).await, 1),
                    0 | 1 => assert!(store.attempt(&spent).await.is_some()),
                    2 => assert!(store.attempt(&revoked).await.is_some()),
                    _ => {
                        let claim = store.claim(&revoked, claim_id(), at(10), at(90)).await;
                        assert_ne!(claim, Claim::Won, "claimed while it was held");
                    }
                }
            }
        }))
        .await;
        let (spent, revoked) = (store.find(&spent).await, store.find(&revoked).await);
        let why = "was undone by a racing call: a used link works again";
        assert!(spent.state.spent_at.is_some(), "spending {why} (W28)");
        assert!(revoked.state.revoked.is_some(), "revoking {why} (W28)");
        assert_eq!(
            (spent.attempts, revoked.attempts),
            (30, 16),
            "a try was lost"
        );
    }
}

/// `revoke` reaches its own record, once, and keeps the first reason.
pub async fn revoking_one_spares_the_others(store: Store, _: Race) {
    let store = Probe(store);
    let owner = user();
    let target = store.stored(&owner, at(0)).await;
    let sibling = store.stored(&owner, at(0)).await;
    assert!(store.revoke(&target, Revocation::Undelivered).await);
    let revoked = store.state(&target).await;
    let again = store.revoke(&target, Revocation::Requested).await;
    assert!(!again, "a token is revoked once");
    assert_eq!(
        store.state(&target).await,
        revoked,
        "the first reason stays"
    );
    store.assert_same(&sibling).await;
}

/// `revoke_all` reaches every open token of one user and of nobody else.
pub async fn revoking_reaches_every_open_token_of_one_user(store: Store, _: Race) {
    let store = Probe(store);
    let owner = user();
    let free = store.stored(&owner, at(0)).await;
    let expired = store.stored(&owner, at(-10_000)).await;
    let (held, _) = store.claimed(&owner, at(60)).await;
    let (let_go, claim) = store.claimed(&owner, at(60)).await;
    assert!(store.release(&let_go, claim, at(60)).await);
    let (spent, claim) = store.claimed(&owner, at(60)).await;
    assert!(store.spend(&spent, claim).await);
    let revoked = store.stored(&owner, at(0)).await;
    assert!(store.revoke(&revoked, Revocation::Undelivered).await);
    let closed = [store.find(&spent).await, store.find(&revoked).await];
    let bystander = store.stored(&user(), at(0)).await;

    let mut open = [free, expired, held, let_go];
    for record in &mut open {
        record.state = store.state(record).await;
        record.state.revoked = Some((at(3), Revocation::PasswordChanged));
    }
    assert_eq!(
        store.revoke_all(&owner).await,
        4,
        "an older link survives a reset (R63)"
    );
    for record in open.iter().chain(&closed).chain([&bystander]) {
        store.assert_same(record).await;
    }
    assert_eq!(store.revoke_all(&owner).await, 0, "nothing was open");
    assert_eq!(store.revoke_all(&user()).await, 0, "nobody's tokens");
}

/// `revoke_all` with [`Reach::SameCredential`] spares what was made for another credential.
pub async fn revoking_siblings_spares_later_tokens(store: Store, _: Race) {
    let store = Probe(store);
    let owner = user();
    let [older, sibling, later] = [1, 1, 2].map(|credential| {
        let mut record = record(&owner, at(0));
        let mut epoch = [9; 32];
        epoch[0] = credential;
        // The half that covers the address differs among siblings too.
        epoch[31] = record.selector.as_bytes()[0];
        record.epoch = Epoch::from_bytes(epoch);
        record
    });
    for record in [&older, &sibling, &later] {
        assert_eq!(store.insert(record, MANY).await, Insert::Done);
    }
    let reach = Reach::SameCredential(&older.epoch);
    let answer = store
        .0
        .revoke_all(&owner, reach, at(3), Revocation::PasswordChanged);
    assert_eq!(
        answer.await.answered("revoke_all"),
        2,
        "a late settlement kills the link that its owner has just asked for"
    );
    store.assert_same(&later).await;
}

/// After the sweep's last look nobody looks again, and the token can be purged.
pub async fn a_closed_token_leaves_the_sweep(store: Store, _: Race) {
    let store = Probe(store);
    let (record, claim) = store.claimed(&user(), at(60)).await;
    assert!(store.close(&record, claim).await, "the holder cannot close");
    let found = store.sweep(claim_id(), at(90_000), at(90_060), 10).await;
    assert!(
        found.is_empty(),
        "the sweep looks at dead tokens for ever, and the table is never purged"
    );
}

/// `purge` removes what expired before the moment and what nobody holds or watches.
pub async fn purge_removes_only_dead_records(store: Store, _: Race) {
    let store = Probe(store);
    let owner = user();
    let free = store.stored(&owner, at(0)).await;
    let (spent, claim) = store.claimed(&owner, at(60)).await;
    assert!(store.spend(&spent, claim).await);
    let revoked = store.stored(&owner, at(0)).await;
    assert!(store.revoke(&revoked, Revocation::Requested).await);
    let (closed, claim) = store.claimed(&owner, at(60)).await;
    assert!(store.close(&closed, claim).await);
    let dead = [free, spent, revoked, closed];

    let (held, _) = store.claimed(&owner, at(60)).await;
    let (watched, claim) = store.claimed(&owner, at(60)).await;
    assert!(store.release(&watched, claim, at(60)).await);
    let (revoked_and_held, _) = store.claimed(&owner, at(60)).await;
    assert!(store.revoke(&revoked_and_held, Revocation::Requested).await);
    let younger = store.stored(&owner, at(0) + Duration::from_micros(1)).await;
    let kept = [held, watched, revoked_and_held, younger];

    let end = at(0) + LIFE;
    assert_eq!(
        store.purge(end, 100).await,
        0,
        "not yet expired before this moment"
    );
    for record in dead.iter().chain(&kept) {
        assert!(
            store.look_up(&record.selector).await.is_some(),
            "removed too early"
        );
    }
    let removed = store.purge(end + Duration::from_micros(1), 100).await;
    for record in &kept {
        assert!(
            store.look_up(&record.selector).await.is_some(),
            "a live link died, or a crash was forgotten: a changed password is never settled"
        );
    }
    for record in &dead {
        assert!(
            store.look_up(&record.selector).await.is_none(),
            "dead records stay for ever: the table fills"
        );
    }
    assert_eq!(removed, 4, "the answer counts what was removed");
    assert_eq!(
        store.revoke_all(&owner).await,
        3,
        "a purged token still counts"
    );
}

/// `purge` stops at its limit, so that it never blocks the store for long.
pub async fn purge_stops_at_its_limit(store: Store, _: Race) {
    let store = Probe(store);
    let mut records = Vec::new();
    for _ in 0..5 {
        records.push(store.stored(&user(), at(0)).await);
    }
    let why = "one purge holds the store for as long as an attacker filled it";
    for (limit, left) in [(0, 5), (2, 3), (2, 1), (2, 0), (2, 0)] {
        let mut before = 0;
        for record in &records {
            before += u64::from(store.look_up(&record.selector).await.is_some());
        }
        let removed = store.purge(at(100_000), limit).await;
        assert_eq!(before - removed, left, "{why}");
    }
}
