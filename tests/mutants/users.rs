//! User tables, all but one broken. `tests/conformance_memory.rs` uses the healthy one.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use password_reset::account::{
    Account, Address, Credential, Identifier, SessionScope, Swap, UserId, UserStore,
};
use password_reset::error::BoxError;
use password_reset::password::PasswordHash;
use password_reset::recovery::SecondFactor;
use password_reset::testing::kit::users::UsersFixture;
use tokio::task::yield_now;

pub(crate) struct Users(Arc<Table>);

struct Table {
    defect: &'static str,
    accounts: Mutex<Vec<Account>>,
    cache: Mutex<Vec<Account>>,
    ended: Mutex<Vec<UserId>>,
}

impl Users {
    pub(crate) fn with(defect: &'static str) -> Self {
        Self(Arc::new(Table {
            defect,
            accounts: Mutex::default(),
            cache: Mutex::default(),
            ended: Mutex::default(),
        }))
    }
}

#[async_trait]
impl UsersFixture for Users {
    fn store(&self) -> Arc<dyn UserStore> {
        Arc::clone(&self.0) as Arc<dyn UserStore>
    }

    async fn create(&self, address: &Address) -> UserId {
        let mut accounts = self.0.accounts.lock().unwrap();
        let id = UserId::parse(&format!("user-{}", accounts.len() + 1)).unwrap();
        let mut account = Account::new(id.clone(), numbered_hash(accounts.len()));
        account.second_factors = vec![SecondFactor::Device];
        accounts.push(account.verified(address.clone()));
        self.0.cache.lock().unwrap().clone_from(&accounts);
        id
    }

    async fn create_without_password(&self, address: &Address) -> Option<UserId> {
        let id = self.create(address).await;
        let mut accounts = self.0.accounts.lock().unwrap();
        accounts.last_mut()?.credential = Credential::External;
        Some(id)
    }
}

fn numbered_hash(number: usize) -> Credential {
    let text = format!("$argon2id$v=19$m=19456,t=2,p=1${number:022}$b2xkIHBhc3N3b3Jk");
    Credential::Password(PasswordHash::parse(&text).unwrap())
}

fn same(a: &Credential, b: &Credential) -> bool {
    a.expose() == b.expose()
}

/// SQL's `LIKE`.
fn like(text: &[u8], pattern: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'%', rest)) => (0..=text.len()).any(|start| like(&text[start..], rest)),
        Some((wanted, rest)) => text
            .split_first()
            .is_some_and(|(first, text)| (*wanted == b'_' || wanted == first) && like(text, rest)),
    }
}

impl Table {
    fn is(&self, defect: &str) -> bool {
        self.defect == defect
    }
}

#[async_trait]
impl UserStore for Table {
    async fn find(&self, identifier: &Identifier) -> Result<Option<Account>, BoxError> {
        let typed = identifier.as_str();
        if self.is("find_is_cached") {
            let cache = self.cache.lock().unwrap();
            let found = cache.iter().find(|a| a.verified[0].as_str() == typed);
            return Ok(found.cloned());
        }
        let mut accounts = self.accounts.lock().unwrap();
        let found = accounts.iter_mut().enumerate().find(|(_, account)| {
            let address = account.verified[0].as_str();
            match self.defect {
                "find_with_like" => like(address.as_bytes(), typed.as_bytes()),
                "find_is_anybody" => true,
                _ => address == typed,
            }
        });
        Ok(found.map(|(number, account)| {
            if self.is("reading_rehashes") {
                account.credential = numbered_hash(1_000 + number);
            }
            account.clone()
        }))
    }

    async fn account(&self, user: &UserId) -> Result<Option<Account>, BoxError> {
        let accounts = self.accounts.lock().unwrap();
        let found = accounts.iter().find(|account| account.id == *user);
        Ok(match self.defect {
            "unknown_is_the_first" => found.or(accounts.first()),
            _ => found,
        }
        .cloned())
    }

    async fn set_password(
        &self,
        user: &UserId,
        expected: &Credential,
        new: &PasswordHash,
    ) -> Result<Swap, BoxError> {
        let first = matches!(expected, Credential::External);
        let racy = self.is("swap_reads_then_writes") || first && self.is("first_reads_then_writes");
        if racy {
            let read = self.account(user).await?;
            if !read.is_some_and(|account| same(&account.credential, expected)) {
                return Ok(Swap::Stale);
            }
            yield_now().await;
        }
        let mut accounts = self.accounts.lock().unwrap();
        let Some(account) = accounts.iter_mut().find(|account| account.id == *user) else {
            return Ok(Swap::Stale);
        };
        if first && self.is("first_is_refused") {
            return Ok(Swap::Stale);
        }
        let compares = !racy && !self.is("swap_compares_nothing");
        if compares && !same(&account.credential, expected) {
            return Ok(Swap::Stale);
        }
        account.credential = Credential::Password(new.clone());
        match self.defect {
            "swap_drops_the_factor" => account.second_factors.clear(),
            "swap_hits_everyone" => {
                for account in accounts.iter_mut() {
                    account.credential = Credential::Password(new.clone());
                }
            }
            _ => {}
        }
        Ok(Swap::Done)
    }

    async fn end_sessions(&self, user: &UserId, _: SessionScope) -> Result<(), BoxError> {
        let mut ended = self.ended.lock().unwrap();
        if self.is("sessions_end_once") && ended.contains(user) {
            return Err("no such sessions".into());
        }
        ended.push(user.clone());
        Ok(())
    }
}
