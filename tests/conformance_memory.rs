//! The bundled in-process backends keep every promise.

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

#[path = "mutants/users.rs"]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]
mod plain_users;

mod users {
    password_reset::conformance_users! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn store() -> super::plain_users::Users {
            super::plain_users::Users::with("healthy")
        }
    }
}
