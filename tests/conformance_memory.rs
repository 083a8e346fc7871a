//! The bundled in-process backends, and the users of feature `testing`, keep every promise.

#![allow(clippy::expect_used, reason = "tests may panic")]

mod tokens {
    password_reset::conformance_tokens! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> password_reset::memory::MemoryTokens {
            password_reset::memory::MemoryTokens::default()
        }
    }
}

mod queue {
    password_reset::conformance_queue! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> password_reset::memory::MemoryQueue {
            password_reset::memory::MemoryQueue::default()
        }
    }
}

mod limiter {
    password_reset::conformance_limiter! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> password_reset::memory::MemoryLimiter {
            password_reset::memory::MemoryLimiter::default()
        }
    }
}

mod log {
    password_reset::conformance_log! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> password_reset::memory::MemoryLog {
            password_reset::memory::MemoryLog::default()
        }
    }
}

mod users {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use password_reset::account::{Account, Address, Credential, UserId, UserStore};
    use password_reset::async_trait;
    use password_reset::testing::MemoryUsers;
    use password_reset::testing::kit::users::UsersFixture;

    #[derive(Default)]
    struct Fixture {
        users: MemoryUsers,
        next: AtomicU32,
    }

    #[async_trait]
    impl UsersFixture for Fixture {
        fn store(&self) -> Arc<dyn UserStore> {
            Arc::new(self.users.clone())
        }

        async fn create(&self, address: &Address) -> UserId {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let id = UserId::parse(&format!("user-{number}")).expect("a plain id");
            let credential = Credential::Stamp(format!("stamp {number}").into());
            let account = Account::new(id.clone(), credential);
            self.users.add(account.verified(address.clone()));
            id
        }

        async fn create_without_password(&self, address: &Address) -> Option<UserId> {
            let id = self.create(address).await;
            self.users.set_credential(&id, Credential::External);
            Some(id)
        }
    }

    password_reset::conformance_users! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> super::users::Fixture {
            super::users::Fixture::default()
        }
    }
}
