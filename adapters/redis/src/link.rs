//! The connection: [`Link`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, RedisResult, ScriptInvocation, Value};
use tokio::time::timeout;

use crate::error::Error;

/// One connection that many callers share, and how to get another one.
///
/// The client's manager replaces a connection that broke. It does not replace one that is silent:
/// after a failover, or behind a firewall that forgot it, a connection can swallow requests for a
/// quarter of an hour before the operating system gives it up. So whoever waited in vain puts a new
/// one in its place; calls that still wait on the old one are left alone.
#[derive(Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    wait: Duration,
}

struct Shared {
    current: Mutex<Numbered>,
    /// Without it the connection is the application's own, and stays.
    again: Option<(Client, ConnectionManagerConfig)>,
}

#[derive(Clone)]
struct Numbered {
    number: u64,
    connection: ConnectionManager,
}

impl Link {
    /// Connects once, without trying again: the caller decides about that.
    pub(crate) async fn open(client: Client, wait: Duration) -> Result<Self, Error> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(wait))
            .set_response_timeout(Some(wait));
        let opening = ConnectionManager::new_with_config(client.clone(), config.clone());
        let connection = timeout(wait, opening).await.map_err(|_| Error::Busy)??;
        Ok(Self::new(connection, Some((client, config)), wait))
    }

    /// The application's own connection.
    pub(crate) fn fixed(connection: ConnectionManager, wait: Duration) -> Self {
        Self::new(connection, None, wait)
    }

    fn new(
        connection: ConnectionManager,
        again: Option<(Client, ConnectionManagerConfig)>,
        wait: Duration,
    ) -> Self {
        let number = 0;
        let current = Mutex::new(Numbered { number, connection });
        Self {
            shared: Arc::new(Shared { current, again }),
            wait,
        }
    }

    /// One script, by its digest; the server gets its text when it does not know it.
    pub(crate) async fn run(&self, script: &ScriptInvocation<'_>) -> Result<Value, Error> {
        self.call(async |mut connection| script.invoke_async(&mut connection).await)
            .await
    }

    /// One plain command.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, Error> {
        self.call(async |mut connection| command.query_async(&mut connection).await)
            .await
    }

    async fn call(
        &self,
        act: impl AsyncFnOnce(ConnectionManager) -> RedisResult<Value>,
    ) -> Result<Value, Error> {
        let Numbered { number, connection } = self.current().clone();
        let answer = match timeout(self.wait, act(connection)).await {
            Ok(answer) => answer.map_err(Error::from),
            Err(_) => Err(Error::Busy),
        };
        if let Err(Error::Busy) = answer {
            self.replace(number);
        }
        answer
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Numbered> {
        // A number and a handle cannot be left half written.
        self.shared
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a new connection in the place of connection `number`, once. It is opened by whoever
    /// needs it first.
    fn replace(&self, number: u64) {
        let Some((client, config)) = &self.shared.again else {
            return;
        };
        let mut current = self.current();
        if current.number != number {
            return;
        }
        let fresh = ConnectionManager::new_lazy_with_config(client.clone(), config.clone());
        if let Ok(connection) = fresh {
            *current = Numbered {
                number: number.wrapping_add(1),
                connection,
            };
        }
    }
}
