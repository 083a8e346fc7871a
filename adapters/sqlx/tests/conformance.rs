//! The core's conformance kit, every check on tables of its own.
//!
//! `PASSWORD_RESET_KIT_ROUNDS=1000 cargo test --release -p password-reset-sqlx --test conformance`
//! races each of them a thousand times.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod servers;

/// The four kits on one kind of database.
macro_rules! conforms {
    ($name:ident, $database:ty: $backend:ty = $fresh:expr) => {
        mod $name {
            mod tokens {
                password_reset::conformance_tokens! {
                    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn store() -> Option<$backend> { $fresh }
                }
            }

            mod queue {
                password_reset::conformance_queue! {
                    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn store() -> Option<$backend> { $fresh }
                }
            }

            mod limiter {
                password_reset::conformance_limiter! {
                    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn store() -> Option<$backend> { $fresh }
                }
            }

            mod log {
                type Trail = crate::trail::Trail<$database>;

                password_reset::conformance_log! {
                    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn store() -> Option<Trail> {
                        let backend: Option<$backend> = $fresh;
                        backend.map(|backend| Trail::new(&backend))
                    }
                }
            }
        }
    };
}

conforms! { sqlite, sqlx::Sqlite: password_reset_sqlx::SqliteBackend = crate::file::fresh().await }
conforms! {
    postgres_read_committed, sqlx::Postgres: password_reset_sqlx::PostgresBackend =
        crate::servers::postgres(crate::servers::Isolation::ReadCommitted).await
}
conforms! {
    postgres_serializable, sqlx::Postgres: password_reset_sqlx::PostgresBackend =
        crate::servers::postgres(crate::servers::Isolation::Serializable).await
}
conforms! { mysql, sqlx::MySql: password_reset_sqlx::MySqlBackend = crate::servers::mysql().await }

mod trail {
    use password_reset::async_trait;
    use password_reset::audit::{AuditLog, AuditSink};
    use password_reset::testing::kit::log::LogFixture;
    use password_reset_sqlx::{Driver, SqlAudit, SqlBackend};

    /// The sink, and the log that another process would read.
    pub(crate) struct Trail<D: Driver> {
        sink: SqlAudit<D>,
        log: SqlBackend<D>,
    }

    impl<D: Driver> Trail<D> {
        pub(crate) fn new(backend: &SqlBackend<D>) -> Self {
            Self {
                sink: SqlAudit::spawn(backend).unwrap(),
                log: backend.clone(),
            }
        }
    }

    #[async_trait]
    impl<D: Driver> LogFixture for Trail<D> {
        fn sink(&self) -> &dyn AuditSink {
            &self.sink
        }

        fn log(&self) -> &dyn AuditLog {
            &self.log
        }

        async fn written(&self) {
            self.sink.flush().await.unwrap();
        }
    }
}

mod file {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Once;
    use std::sync::atomic::{AtomicU32, Ordering};

    use password_reset_sqlx::{SqliteBackend, SqliteOptions};

    /// A new file; those of earlier runs go. Power cuts are not part of the kit, so the disk is not
    /// waited for.
    pub(crate) async fn fresh() -> Option<SqliteBackend> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("conformance");
        static CLEAN: Once = Once::new();
        CLEAN.call_once(|| {
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
        });
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = folder.join(format!("{number}.db"));
        let options = SqliteOptions::new(&format!("sqlite://{}", file.display()))
            .synchronous_normal()
            .prefix("a \"quoted\"?1 name_")
            .unwrap();
        Some(options.connect().await.unwrap())
    }
}
