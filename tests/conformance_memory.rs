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
