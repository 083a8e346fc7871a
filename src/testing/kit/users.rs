//! Checks of the [`UserStore`] contract.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Answered, RACERS, Race, word};
use crate::account::{
    Account, Address, Credential, Identifier, SessionScope, Status, Swap, UserId, UserStore,
};
use crate::password::PasswordHash;

/// What the kit needs of a user table beside its [`UserStore`]: a way to put people into it.
///
/// The table may hold other people. Implement it in your tests:
///
/// ```
/// use std::sync::Arc;
/// use async_trait::async_trait;
/// use password_reset::account::{Address, UserId, UserStore};
/// use password_reset::testing::kit::users::UsersFixture;
///
/// # #[async_trait]
/// # trait SignUp { async fn sign_up(&self, address: &str, password: &str) -> UserId; }
/// struct Fixture<MyUsers>(Arc<MyUsers>);
///
/// #[async_trait]
/// impl<MyUsers: UserStore + SignUp + 'static> UsersFixture for Fixture<MyUsers> {
///     fn store(&self) -> Arc<dyn UserStore> {
///         self.0.clone()
///     }
///
///     async fn create(&self, address: &Address) -> UserId {
///         self.0.sign_up(address.as_str(), "an old password").await
///     }
///
///     async fn create_without_password(&self, _: &Address) -> Option<UserId> {
///         None // Everybody has one here.
///     }
/// }
/// ```
#[async_trait]
pub trait UsersFixture: Send + Sync + 'static {
    /// The store under test.
    fn store(&self) -> Arc<dyn UserStore>;

    /// Adds an active account with a password, and with `address` as its only, verified address;
    /// answers its key.
    async fn create(&self, address: &Address) -> UserId;

    /// Adds an active account without a password ([`Credential::External`]), with `address` as its
    /// only, verified address; answers its key, or `None` where every account has a password.
    async fn create_without_password(&self, address: &Address) -> Option<UserId>;
}

/// The one list of this trait's promises.
#[doc(hidden)]
#[macro_export]
macro_rules! __users_promises {
    ($then:ident $($rest:tt)*) => {
        $crate::$then! { [
            an_account_is_found_by_its_address
            swap_is_compare_and_swap
            one_swap_wins
            a_first_password_is_set_once
            a_swap_is_seen_at_once
            a_swap_changes_only_the_password
            a_swap_touches_nobody_else
            wildcards_match_nobody
            an_unknown_id_is_nobody
            ending_sessions_twice_is_fine
            reading_changes_nothing
        ] $($rest)* }
    };
}

/// Writes one test for each promise of a [`UserStore`]; see [`testing::kit`](crate::testing::kit).
/// The function makes a [`UsersFixture`].
#[macro_export]
macro_rules! conformance_users {
    ($($tests:tt)+) => { $crate::__users_promises! { __conformance_tests users $($tests)+ } };
}

crate::__users_promises! { __conformance_checks dyn UsersFixture }

type Fixture = Arc<dyn UsersFixture>;

/// The store and its fixture, with every failure a panic.
#[derive(Clone)]
struct Probe {
    fixture: Fixture,
    store: Arc<dyn UserStore>,
}

impl Probe {
    fn new(fixture: Fixture) -> Self {
        let store = fixture.store();
        Self { fixture, store }
    }

    async fn create(&self) -> (Address, Account) {
        let address = fresh_address();
        let id = self.fixture.create(&address).await;
        (address, self.account(&id).await)
    }

    async fn look_up(&self, typed: &str) -> Option<Account> {
        let identifier = Identifier::parse(typed).expect("the kit's identifiers are valid");
        self.store.find(&identifier).await.answered("find")
    }

    async fn get(&self, id: &UserId) -> Option<Account> {
        self.store.account(id).await.answered("account")
    }

    async fn account(&self, id: &UserId) -> Account {
        self.get(id)
            .await
            .expect("an account is found by its key; otherwise no reset succeeds")
    }

    async fn swap(&self, id: &UserId, expected: &Credential, new: &PasswordHash) -> Swap {
        let answer = self.store.set_password(id, expected, new).await;
        answer.answered("set_password")
    }

    async fn end_sessions(&self, id: &UserId) {
        let answer = self.store.end_sessions(id, SessionScope::All).await;
        answer.answered("end_sessions");
    }
}

fn fresh_address() -> Address {
    let address = Address::parse(&format!("kit.{}@example.com", word()));
    address.expect("the kit's addresses are valid")
}

/// A PHC string of the default parameters that nobody knows a password for.
fn hash() -> PasswordHash {
    let (salt, tag) = (word(), format!("{}{}", word(), word()));
    let text = format!("$argon2id$v=19$m=19456,t=2,p=1${salt:.22}${tag:.43}");
    PasswordHash::parse(&text).expect("a valid PHC string")
}

fn same_credential(a: &Account, b: &Account) -> bool {
    a.credential.expose() == b.credential.expose()
}

/// Compares everything but the credential.
fn assert_same_person(now: &Account, before: &Account, why: &str) {
    assert!(now.id == before.id, "the key changed: {why}");
    assert!(now.tenant == before.tenant, "the tenant changed: {why}");
    assert!(now.status == before.status, "the status changed: {why}");
    assert!(
        now.verified == before.verified,
        "the verified addresses changed: {why}"
    );
    assert!(
        now.unverified == before.unverified,
        "the unverified addresses changed: {why}"
    );
    assert!(
        now.second_factors == before.second_factors,
        "the second factors changed: {why}"
    );
    assert!(now.locale == before.locale, "the language changed: {why}");
    assert!(
        now.context_words == before.context_words,
        "the names changed: {why}"
    );
}

fn assert_same(now: &Account, before: &Account, why: &str) {
    assert_same_person(now, before, why);
    assert!(
        same_credential(now, before),
        "the credential changed: {why}"
    );
}

/// `find` and `account` mean the same account, active, with a password and a verified address.
pub async fn an_account_is_found_by_its_address(fixture: Fixture, _: Race) {
    let probe = Probe::new(fixture);
    let (first, account) = probe.create().await;
    let (second, other) = probe.create().await;
    assert!(account.id != other.id, "two accounts share a key");
    for (address, account) in [(first, account), (second, other)] {
        let found = probe.look_up(address.as_str()).await;
        let found = found.expect("an address on record is found; otherwise no mail is sent");
        assert_same(&found, &account, "`find` and `account` disagree");
        assert!(
            found.verified.contains(&address),
            "the mail would go somewhere else (W1)"
        );
        assert!(
            found.status == Status::Active,
            "the fixture makes active accounts"
        );
        assert!(
            !found.credential.expose().is_empty(),
            "the fixture makes a password"
        );
    }
}

/// A credential that is not the present one changes nothing.
pub async fn swap_is_compare_and_swap(fixture: Fixture, _: Race) {
    let probe = Probe::new(fixture);
    let (_, before) = probe.create().await;
    let (_, stranger) = probe.create().await;
    let (first, second) = (hash(), hash());
    let why = "a token of an old password undoes the change that the owner has just made (R64)";
    let wrong = [
        stranger.credential,
        Credential::External,
        Credential::Password(hash()),
        Credential::Stamp("a stamp of nobody".into()),
    ];
    // Accounts may share a credential: a version number, or one hash in a fixture.
    let is_wrong = |credential: &&Credential| credential.expose() != before.credential.expose();
    for wrong in wrong.iter().filter(is_wrong) {
        assert_eq!(
            probe.swap(&before.id, wrong, &first).await,
            Swap::Stale,
            "{why}"
        );
        assert_same(&probe.account(&before.id).await, &before, why);
    }
    let answer = probe.swap(&before.id, &before.credential, &first).await;
    assert_eq!(answer, Swap::Done, "the expected credential is swapped");
    let changed = probe.account(&before.id).await;
    let answer = probe.swap(&before.id, &before.credential, &second).await;
    assert_eq!(answer, Swap::Stale, "{why}");
    assert_same(&probe.account(&before.id).await, &changed, why);
}

/// Of 64 swaps of one password one is done, and it is the one that is kept.
pub async fn one_swap_wins(fixture: Fixture, race: Race) {
    let probe = Probe::new(fixture);
    for _ in 0..race.rounds {
        let (_, before) = probe.create().await;
        let answers = race
            .run((0..RACERS).map(|_| {
                let (probe, before, new) = (probe.clone(), before.clone(), hash());
                async move { (probe.swap(&before.id, &before.credential, &new).await, new) }
            }))
            .await;
        let done: Vec<_> = answers.iter().filter(|(a, _)| *a == Swap::Done).collect();
        let [(_, new)] = done.as_slice() else {
            panic!(
                "{} of {RACERS} parallel swaps were done: two tokens change the password twice, \
                 and the last one stays (W27)",
                done.len()
            );
        };
        assert_is(&probe.account(&before.id).await, new);
    }
}

/// Of 64 first passwords one is set, and none after it.
pub async fn a_first_password_is_set_once(fixture: Fixture, race: Race) {
    let probe = Probe::new(fixture);
    let none = Credential::External;
    let (_, owner) = probe.create().await;
    let answer = probe.swap(&owner.id, &none, &hash()).await;
    let why = "an invitation replaces a password that its owner has chosen (W68)";
    assert_eq!(answer, Swap::Stale, "{why}");
    assert_same(&probe.account(&owner.id).await, &owner, why);
    for _ in 0..race.rounds.max(1) {
        let address = fresh_address();
        let Some(id) = probe.fixture.create_without_password(&address).await else {
            return;
        };
        let before = probe.account(&id).await;
        assert!(
            matches!(before.credential, Credential::External),
            "an account without a password is taken for one that has one: it gets reset links (W68)"
        );
        let wrong = Credential::Password(hash());
        let answer = probe.swap(&id, &wrong, &hash()).await;
        assert_eq!(answer, Swap::Stale, "it has no password yet");
        let answers = race
            .run((0..RACERS).map(|_| {
                let (probe, id, new) = (probe.clone(), id.clone(), hash());
                async move { (probe.swap(&id, &Credential::External, &new).await, new) }
            }))
            .await;
        let done: Vec<_> = answers.iter().filter(|(a, _)| *a == Swap::Done).collect();
        let [(_, new)] = done.as_slice() else {
            panic!(
                "{} of {RACERS} parallel first passwords were set: two links set two passwords, \
                 and the last one stays",
                done.len()
            );
        };
        let after = probe.account(&id).await;
        assert_is(&after, new);
        assert_same_person(&after, &before, "a first password changes more than that");
        let answer = probe.swap(&id, &none, &hash()).await;
        assert_eq!(answer, Swap::Stale, "{why}");
        assert_same(&probe.account(&id).await, &after, why);
    }
}

/// Where the store shows its hashes, the account has this one.
fn assert_is(account: &Account, new: &PasswordHash) {
    if let Credential::Password(stored) = &account.credential {
        assert!(
            stored.expose() == new.expose(),
            "another password was set than the answer says"
        );
    }
}

/// What `set_password` did, `account` and `find` show.
pub async fn a_swap_is_seen_at_once(fixture: Fixture, race: Race) {
    let probe = Probe::new(fixture);
    let (address, mut before) = probe.create().await;
    for _ in 0..race.rounds.max(1) {
        let new = hash();
        let answer = probe.swap(&before.id, &before.credential, &new).await;
        assert_eq!(answer, Swap::Done, "the expected credential is swapped");
        let after = probe.account(&before.id).await;
        let found = probe.look_up(address.as_str()).await.expect("still there");
        for seen in [&after, &found] {
            assert!(
                !same_credential(seen, &before),
                "a used token looks unused: it works again, and an attacker's sessions stay"
            );
            assert_is(seen, &new);
        }
        assert!(
            same_credential(&after, &found),
            "`find` and `account` disagree"
        );
        before = after;
    }
}

/// A new password changes no status, no factor, no address.
pub async fn a_swap_changes_only_the_password(fixture: Fixture, _: Race) {
    let probe = Probe::new(fixture);
    let (_, before) = probe.create().await;
    let answer = probe.swap(&before.id, &before.credential, &hash()).await;
    assert_eq!(answer, Swap::Done, "the expected credential is swapped");
    let why = "a reset brings back a locked account, or takes a factor away (R68)";
    assert_same_person(&probe.account(&before.id).await, &before, why);
}

/// A new password and ended sessions concern one account.
pub async fn a_swap_touches_nobody_else(fixture: Fixture, _: Race) {
    let probe = Probe::new(fixture);
    let (_, other) = probe.create().await;
    let (_, before) = probe.create().await;
    let (_, younger) = probe.create().await;
    let answer = probe.swap(&before.id, &before.credential, &hash()).await;
    assert_eq!(answer, Swap::Done, "the expected credential is swapped");
    probe.end_sessions(&before.id).await;
    for bystander in [other, younger] {
        let now = probe.account(&bystander.id).await;
        assert_same(
            &now,
            &bystander,
            "one person's reset changes another's account",
        );
    }
}

/// An identifier is data: no pattern, no piece of a query.
pub async fn wildcards_match_nobody(fixture: Fixture, _: Race) {
    let probe = Probe::new(fixture);
    let (address, account) = probe.create().await;
    let address = address.as_str();
    let (local, domain) = address.split_once('@').expect("an address");
    let one_less = local.get(..local.len() - 1).expect("ASCII");
    for typed in [
        "%".to_owned(),
        "*".to_owned(),
        "kit.%".to_owned(),
        format!("%{domain}"),
        format!("{local}@%"),
        format!("{one_less}_@{domain}"),
        format!("{one_less}?@{domain}"),
        format!("{one_less}.@{domain}"),
        format!("{one_less}*@{domain}"),
        format!("{one_less}[0-9a-f]@{domain}"),
        format!("^{address}$"),
        local.to_owned(),
        format!("{address}' OR '1'='1"),
        format!("{address}'--"),
        format!("{address}\" OR \"\"=\""),
        "' OR 1=1--".to_owned(),
        "'; DROP TABLE users;--".to_owned(),
        "{\"$ne\":null}".to_owned(),
        "*)(uid=*".to_owned(),
        format!("{address},eve@example.org"),
        format!("{address};eve@example.org"),
    ] {
        assert!(
            probe.look_up(&typed).await.is_none(),
            "{typed:?} is taken for somebody: a person gets mail that a stranger asked for with \
             a pattern, and the query can be rewritten (W25)"
        );
    }
    let found = probe.look_up(address).await.expect("still there");
    assert_same(&found, &account, "an identifier was run as a query (W25)");
}

/// Unknown keys and unknown addresses are nobody, for every call.
pub async fn an_unknown_id_is_nobody(fixture: Fixture, _: Race) {
    let probe = Probe::new(fixture);
    let (_, account) = probe.create().await;
    let why = "a token of a deleted account opens somebody else's (W35)";
    let unknown = word();
    for text in [
        unknown.as_str(),
        "%",
        "' OR 1=1--",
        "0",
        "-1",
        "999999999999999999999999",
    ] {
        let id = UserId::parse(text).expect("the kit's user ids are valid");
        assert!(
            probe.get(&id).await.is_none(),
            "{text:?} is somebody: {why}"
        );
        let answer = probe.swap(&id, &account.credential, &hash()).await;
        assert_eq!(answer, Swap::Stale, "{text:?} is somebody: {why}");
    }
    assert!(
        probe
            .look_up(&format!("{unknown}@example.com"))
            .await
            .is_none(),
        "{why}"
    );
    assert_same(&probe.account(&account.id).await, &account, why);
}

/// After a crash the worker ends sessions again; that must not fail.
pub async fn ending_sessions_twice_is_fine(fixture: Fixture, _: Race) {
    let probe = Probe::new(fixture);
    let (_, account) = probe.create().await;
    for _ in 0..3 {
        probe.end_sessions(&account.id).await;
    }
    let now = probe.account(&account.id).await;
    assert_same(
        &now,
        &account,
        "ending sessions is not changing the account",
    );
}

/// Looking an account up, however often, leaves it as it was.
pub async fn reading_changes_nothing(fixture: Fixture, _: Race) {
    let probe = Probe::new(fixture);
    let (address, before) = probe.create().await;
    let why = "a stranger who types an address changes an account (R18, W38)";
    for _ in 0..10 {
        let found = probe.look_up(address.as_str()).await.expect("still there");
        assert_same(&found, &before, why);
        assert_same(&probe.account(&before.id).await, &before, why);
    }
    let answer = probe.swap(&before.id, &before.credential, &hash()).await;
    assert_eq!(answer, Swap::Done, "{why}");
}
