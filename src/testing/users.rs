//! Users in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::account::{
    Account, Address, Credential, Identifier, SessionScope, Status, Swap, UserId, UserStore,
};
use crate::error::BoxError;
use crate::password::PasswordHash;
use crate::testing::lock;

/// How often each method of a [`MemoryUsers`] was called.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Calls {
    /// Calls of [`UserStore::find`].
    pub find: u64,
    /// Calls of [`UserStore::account`].
    pub account: u64,
    /// Calls of [`UserStore::set_password`].
    pub set_password: u64,
    /// Calls of [`UserStore::end_sessions`].
    pub end_sessions: u64,
}

/// A complete [`UserStore`] in memory. Clones share their users.
///
/// An identifier means an account when, both in lower case, it equals one of its addresses or its
/// user name, and the tenant is the same. Verified addresses win over user names, those over
/// addresses that nobody has confirmed, and those over former ones.
///
/// ```
/// use password_reset::account::{Account, Address, Credential, Identifier, UserId, UserStore};
/// use password_reset::testing::{MemoryUsers, block_on};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let users = MemoryUsers::default();
/// let ada = Account::new(UserId::parse("1")?, Credential::External);
/// users.add(ada.verified(Address::parse("ada@example.com")?));
/// let found = block_on(users.find(&Identifier::parse("Ada@Example.com")?))?;
/// assert_eq!(found.map(|account| account.id), Some(UserId::parse("1")?));
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct MemoryUsers(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    rows: BTreeMap<UserId, Row>,
    calls: Calls,
}

struct Row {
    account: Account,
    name: Option<String>,
    sessions: u64,
    ended: u64,
}

impl Row {
    fn has_verified(&self, wanted: &str) -> bool {
        any_is(&self.account.verified, wanted)
    }

    fn has_unverified(&self, wanted: &str) -> bool {
        any_is(&self.account.unverified, wanted)
    }

    fn had(&self, wanted: &str) -> bool {
        any_is(&self.account.former, wanted)
    }

    fn is_named(&self, wanted: &str) -> bool {
        self.name.as_deref() == Some(wanted)
    }
}

fn any_is(addresses: &[Address], wanted: &str) -> bool {
    addresses
        .iter()
        .any(|address| address.as_str().to_lowercase() == wanted)
}

impl MemoryUsers {
    /// Adds an account, without sessions, or replaces the one with this id.
    pub fn add(&self, account: Account) {
        let row = Row {
            account,
            name: None,
            sessions: 0,
            ended: 0,
        };
        lock(&self.0).rows.insert(row.account.id.clone(), row);
    }

    /// Gives the account a user name that it is found by; `false` when there is no such account.
    pub fn set_name(&self, user: &UserId, name: &str) -> bool {
        self.row(user, |row| row.name = Some(name.to_lowercase()))
            .is_some()
    }

    /// Changes anything about the account; `false` when there is no such account. To give it
    /// another id, delete it and add it anew.
    pub fn edit(&self, user: &UserId, change: impl FnOnce(&mut Account)) -> bool {
        self.row(user, |row| change(&mut row.account)).is_some()
    }

    /// Enables or disables the account; `false` when there is no such account.
    pub fn set_status(&self, user: &UserId, status: Status) -> bool {
        self.edit(user, |account| account.status = status)
    }

    /// Changes what the account logs in with, by another path than a reset; `false` when there is
    /// no such account.
    pub fn set_credential(&self, user: &UserId, credential: Credential) -> bool {
        self.edit(user, |account| account.credential = credential)
    }

    /// Replaces the account's addresses; `false` when there is no such account.
    pub fn set_addresses(
        &self,
        user: &UserId,
        verified: Vec<Address>,
        unverified: Vec<Address>,
    ) -> bool {
        self.edit(user, |account| {
            account.verified = verified;
            account.unverified = unverified;
        })
    }

    /// Deletes the account; `false` when there is no such account.
    pub fn delete(&self, user: &UserId) -> bool {
        lock(&self.0).rows.remove(user).is_some()
    }

    /// The stored hash of the account's password, if it has one.
    pub fn hash_of(&self, user: &UserId) -> Option<String> {
        self.row(user, |row| match &row.account.credential {
            Credential::Password(hash) => Some(hash.expose().to_owned()),
            _ => None,
        })?
    }

    /// Logs the account in once more; `false` when there is no such account.
    pub fn open_session(&self, user: &UserId) -> bool {
        self.row(user, |row| row.sessions += 1).is_some()
    }

    /// How many sessions of the account are open.
    pub fn sessions(&self, user: &UserId) -> u64 {
        self.row(user, |row| row.sessions).unwrap_or(0)
    }

    /// How often [`UserStore::end_sessions`] was carried out for the account.
    pub fn ended(&self, user: &UserId) -> u64 {
        self.row(user, |row| row.ended).unwrap_or(0)
    }

    /// How often each method was called.
    pub fn calls(&self) -> Calls {
        lock(&self.0).calls
    }

    fn row<T>(&self, user: &UserId, work: impl FnOnce(&mut Row) -> T) -> Option<T> {
        lock(&self.0).rows.get_mut(user).map(work)
    }
}

#[async_trait]
impl UserStore for MemoryUsers {
    async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError> {
        let mut table = lock(&self.0);
        table.calls.find += 1;
        let wanted = identifier.as_str().to_lowercase();
        let first = |means: fn(&Row, &str) -> bool| {
            table.rows.values().find(|row| {
                row.account.tenant.as_ref() == identifier.tenant() && means(row, &wanted)
            })
        };
        let row = first(Row::has_verified)
            .or_else(|| first(Row::is_named))
            .or_else(|| first(Row::has_unverified))
            .or_else(|| first(Row::had));
        Ok(row.map(|row| row.account.clone()))
    }

    async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError> {
        let mut table = lock(&self.0);
        table.calls.account += 1;
        Ok(table.rows.get(user).map(|row| row.account.clone()))
    }

    async fn set_password(
        &self,
        user: &UserId,
        expected: &Credential,
        new: &PasswordHash,
    ) -> Result<Swap, BoxError> {
        // Compared and changed under one lock: that is all the atomicity there is to it.
        let mut table = lock(&self.0);
        table.calls.set_password += 1;
        let Some(row) = table.rows.get_mut(user) else {
            return Ok(Swap::Stale);
        };
        if !same(&row.account.credential, expected) {
            return Ok(Swap::Stale);
        }
        row.account.credential = Credential::Password(new.clone());
        Ok(Swap::Done)
    }

    async fn end_sessions(&self, user: &UserId, _: SessionScope) -> Result<(), BoxError> {
        let mut table = lock(&self.0);
        table.calls.end_sessions += 1;
        if let Some(row) = table.rows.get_mut(user) {
            row.sessions = 0;
            row.ended += 1;
        }
        Ok(())
    }
}

/// The same kind, and the same bytes.
fn same(stored: &Credential, expected: &Credential) -> bool {
    std::mem::discriminant(stored) == std::mem::discriminant(expected)
        && stored.expose() == expected.expose()
}

impl fmt::Debug for MemoryUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryUsers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "tests may panic"
    )]

    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::account::Tenant;
    use crate::testing::block_on;

    fn id(text: &str) -> UserId {
        UserId::parse(text).unwrap()
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn hash(salt: char) -> PasswordHash {
        let salt = String::from(salt).repeat(22);
        let tag = "A".repeat(43);
        PasswordHash::parse(&format!("$argon2id$v=19$m=19456,t=2,p=1${salt}${tag}")).unwrap()
    }

    fn password(salt: char) -> Credential {
        Credential::Password(hash(salt))
    }

    fn users() -> MemoryUsers {
        let users = MemoryUsers::default();
        users.add(Account::new(id("1"), password('A')).verified(address("Ada@Example.com")));
        users
    }

    fn found(users: &MemoryUsers, identifier: Identifier) -> Option<String> {
        let account = block_on(users.find(&identifier)).unwrap()?;
        Some(account.id.as_str().to_owned())
    }

    fn typed(text: &str) -> Identifier {
        Identifier::parse(text).unwrap()
    }

    #[test]
    fn an_identifier_means_one_account_in_its_tenant() {
        let users = users();
        users.set_name(&id("1"), "Countess");
        let mut bob = Account::new(id("2"), Credential::External);
        bob.unverified.push(address("ada@example.com"));
        bob.unverified.push(address("bob@example.com"));
        users.add(bob);
        let mut guest = Account::new(id("3"), Credential::External);
        guest.tenant = Some(Tenant::parse("t").unwrap());
        users.add(guest.verified(address("guest@example.com")));

        assert_eq!(
            found(&users, typed("ada@EXAMPLE.com")).as_deref(),
            Some("1")
        );
        assert_eq!(found(&users, typed("countess")).as_deref(), Some("1"));
        assert_eq!(
            found(&users, typed("bob@example.com")).as_deref(),
            Some("2")
        );
        let tenant = || Tenant::parse("t").unwrap();
        for nobody in ["%", "_da@example.com", "ada", "1", "guest@example.com"] {
            assert_eq!(found(&users, typed(nobody)), None, "{nobody}");
        }
        assert!(found(&users, typed("guest@example.com").in_tenant(tenant())).is_some());
        assert!(found(&users, typed("ada@example.com").in_tenant(tenant())).is_none());
        users.delete(&id("1"));
        assert!(block_on(users.account(&id("1"))).unwrap().is_none());
    }

    #[test]
    fn a_swap_needs_the_expected_credential_and_changes_only_that() {
        let users = users();
        let user = id("1");
        users.set_status(&user, Status::Disabled);
        let swap = |user: &str, expected: &Credential, new: char| {
            block_on(users.set_password(&id(user), expected, &hash(new))).unwrap()
        };
        assert_eq!(swap("1", &password('B'), 'C'), Swap::Stale);
        assert_eq!(swap("1", &Credential::External, 'C'), Swap::Stale);
        let stamp = Credential::Stamp(hash('A').expose().into());
        assert_eq!(swap("1", &stamp, 'C'), Swap::Stale);
        assert_eq!(swap("9", &password('A'), 'C'), Swap::Stale);
        assert_eq!(users.hash_of(&user).unwrap(), hash('A').expose());
        assert_eq!(swap("1", &password('A'), 'C'), Swap::Done);
        assert_eq!(swap("1", &password('A'), 'D'), Swap::Stale);
        assert_eq!(users.hash_of(&user).unwrap(), hash('C').expose());
        let account = block_on(users.account(&user)).unwrap().unwrap();
        assert_eq!(account.status, Status::Disabled);
        assert_eq!(users.calls().set_password, 6);
    }

    #[test]
    fn of_many_swaps_at_once_one_wins() {
        let users = users();
        let start = Barrier::new(8);
        let swap = || {
            start.wait();
            block_on(users.set_password(&id("1"), &password('A'), &hash('B'))).unwrap()
        };
        let wins = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(swap)).collect();
            let swaps = threads.into_iter().map(|thread| thread.join().unwrap());
            swaps.filter(|swap| *swap == Swap::Done).count()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn sessions_are_counted_and_ended_together() {
        let users = users();
        let user = id("1");
        users.open_session(&user);
        users.open_session(&user);
        assert_eq!((users.sessions(&user), users.ended(&user)), (2, 0));
        for ended in 1..=2 {
            block_on(users.end_sessions(&user, SessionScope::All)).unwrap();
            assert_eq!((users.sessions(&user), users.ended(&user)), (0, ended));
        }
        block_on(users.end_sessions(&id("9"), SessionScope::All)).unwrap();
        assert!(!users.open_session(&id("9")));
        assert!(!users.set_credential(&id("9"), password('A')));
        assert!(!users.set_addresses(&id("9"), Vec::new(), Vec::new()));
    }

    #[test]
    fn debug_shows_no_user() {
        assert!(!format!("{:?}", users()).contains("xample"));
    }
}
