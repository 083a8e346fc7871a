//! The parts are put together, started, and stopped.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use password_reset::ResetFlow;
use password_reset::account::{Address, UserStore};
use password_reset::audit::{MetricsSink, TracingSink};
use password_reset::error::BoxError;
use password_reset::flow::{Codes, Parts, WatcherOptions, WorkerOptions};
use password_reset::human::{Demand, ProofOfWork, When};
use password_reset::limit::{RateLimiter, Unlimited};
use password_reset::mail::{LinkBase, Mailbox as Sender, Site};
use password_reset::password::legacy::Bcrypt;
use password_reset::password::{Argon2id, HashPool, MigratingHasher, Policy};
use password_reset::queue::JobQueue;
use password_reset_sqlx::{
    Driver, MySqlBackend, PostgresBackend, SqlAudit, SqlBackend, SqlUserStore, SqliteBackend,
};
use password_reset_web::{Forwarding, Proxies, ResetWeb, Theme};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::activity::{self, View};
use crate::app::{App, Dev};
use crate::database::{Database, Pools};
use crate::flags::{Flags, Role, Switch, Work};
use crate::login::Logins;
use crate::mailbox::Mailbox;
use crate::sessions::Sessions;
use crate::stop::Stop;
use crate::totp::Totp;
use crate::{app, keys, pages, redis, say, totp, users};

/// The page that links lead to; its neighbours are named in [`pages`].
const RESET: &str = "/reset-password";
/// How long each step of the stop may take.
const GRACE: Duration = Duration::from_secs(5);

/// Runs until it is told to stop.
pub(crate) async fn run(flags: Flags) -> Result<(), BoxError> {
    flags.check()?;
    let stop = Stop::listen()?;
    // First the port: when it is taken, nothing else has happened yet.
    let listener = match flags.role {
        Role::Worker => None,
        Role::All | Role::Web => Some(listen(flags.addr).await?),
    };
    let database = Database::open(flags.database.as_deref(), flags.key_file.clone()).await?;
    let demo = Demo {
        flags,
        stop,
        listener,
        database,
    };
    // The library's types name their database. An application has one, and needs no `match`.
    match demo.database.pools.clone() {
        Pools::Sqlite { writer, reader } => {
            let users = users::store(writer.clone()).reader(reader.clone());
            demo.run(SqliteBackend::with_pools(writer, reader), users)
                .await
        }
        Pools::Postgres(pool) => {
            let users = users::store(pool.clone());
            demo.run(PostgresBackend::with_pool(pool), users).await
        }
        Pools::MySql(pool) => {
            let users = users::store(pool.clone());
            demo.run(MySqlBackend::with_pool(pool), users).await
        }
    }
}

/// What there is before the library comes in.
struct Demo {
    flags: Flags,
    stop: Stop,
    listener: Option<TcpListener>,
    database: Database,
}

impl Demo {
    async fn run<D: Driver>(
        self,
        backend: SqlBackend<D>,
        users: SqlUserStore<D>,
    ) -> Result<(), BoxError> {
        let Self {
            flags,
            stop,
            listener,
            database,
        } = self;
        let address = match &listener {
            Some(listener) => listener.local_addr()?,
            None => flags.addr,
        };
        let loopback = address.ip().is_loopback();

        backend.migrate().await?;
        let audit = SqlAudit::spawn(&backend)?;
        let metrics = activity::metrics()?;
        // A wrong column is found now, and not when somebody has forgotten a password.
        users.check().await?;
        let users: Arc<dyn UserStore> = Arc::new(users);
        // One pool for reset, login and seeding, so that all hashing together stays within one bound.
        // New hashes are Argon2id; what the table still has of bcrypt moves over at its owner's login.
        let hasher = MigratingHasher::new(Argon2id::default()).accept(Bcrypt::default());
        let hashing = HashPool::new(hasher)?;
        seed(&database.pools, &hashing, flags.accounts).await?;

        let base = LinkBase::parse(&match flags.link_base {
            Some(base) => base,
            None => link_base(address)?,
        })?;
        if base.path() != RESET {
            return Err(format!("the demo's page is at {RESET}: --link-base must end so").into());
        }
        let not_me = LinkBase::parse(&format!("{}/not-me", base.as_str()))?;
        let mailbox = Mailbox::new(&base, &not_me, flags.mail_dir)?;
        let redis = match &flags.redis {
            Some(url) => Some(redis::connect(url, &flags.redis_prefix).await?),
            None => None,
        };
        let queue: Arc<dyn JobQueue> = match &redis {
            Some(redis) => Arc::new(redis.clone()),
            None => Arc::new(backend.clone()),
        };
        let limiter: Arc<dyn RateLimiter> = match (flags.limits, redis) {
            (Switch::Off, _) => Arc::new(Unlimited),
            (Switch::On, Some(redis)) => Arc::new(redis),
            (Switch::On, None) => Arc::new(backend.clone()),
        };
        let totp = Totp::new(&database.pools);
        let mut builder = ResetFlow::builder(Parts {
            site: Site::new(
                "Demo",
                base,
                "support@example.com",
                Sender::new(Address::parse("no-reply@example.com")?),
            )?
            .cancel_page(not_me),
            keyring: keys::keyring(database.key_file.as_deref())?,
            users: Arc::clone(&users),
            tokens: Arc::new(backend.clone()),
            queue,
            mailer: Arc::new(mailbox.clone()),
            limiter: Arc::clone(&limiter),
        })
        .hashing(hashing.clone())
        // Between the link and the new password, for whoever has one.
        .second_factor(totp.clone())
        // Beside links; the page that asks whose password it is gets a second button.
        .codes(Codes::default())
        .proof_of_work(
            ProofOfWork::default(),
            match flags.proof_of_work {
                Work::Off => When::Never,
                // The watcher below turns it on.
                Work::Demanded => When::Demanded(Demand::default()),
                Work::Always => When::Always,
            },
        )
        // Into the table, warnings and worse onto the terminal, and all of it counted.
        .audit((audit.clone(), (TracingSink, MetricsSink::default())));
        builder = match flags.spread.map(Duration::from_millis) {
            None => builder,
            Some(spread) if spread >= Duration::from_millis(200) => builder.spread(spread),
            // Weaker than the library allows by default, so it has to be asked for by this name.
            Some(spread) => builder.danger().spread(spread),
        };
        let flow = builder.build()?;

        let worker = match flags.role {
            Role::Web => None,
            Role::All | Role::Worker => Some(flow.worker().spawn(WorkerOptions::default())),
        };
        // Counts what is in the trail, and rings on the terminal; in every process, since each asks for
        // proofs by itself.
        let watcher = flow.watcher(audit.clone());
        let watcher = watcher.spawn(WatcherOptions::default());
        if let Some(listener) = listener {
            let web = ResetWeb::builder(flow.clone())
                .proxies(Proxies::count(flags.proxies, Forwarding::XForwardedFor))
                .render(Theme::default().add_style(pages::STYLE))
                .build()?;
            pages::dress(web.style());
            let app = App {
                web,
                logins: Logins::new(limiter, hashing).await?,
                totp: totp.clone(),
                sessions: Sessions::new(&database.pools),
                users,
            };
            let activity = View::new(&app.web, flow, audit.clone(), metrics)?;
            let router = app::router(
                app,
                loopback.then_some(Dev {
                    mailbox,
                    activity,
                    totp,
                }),
            );
            if loopback {
                say(&format!("the mail is at http://{address}/dev/mailbox"));
                say(&format!(
                    "what happened is at http://{address}/dev/activity"
                ));
            } else {
                say("not a loopback address: nothing under /dev is shown");
            }
            say(&format!("listening on http://{address}"));
            serve(listener, router, stop).await?;
        } else {
            say("working; nothing is listened to");
            stop.wait().await;
        }
        // Jobs that run are finished; those that wait are in the queue, for the next start.
        if let Some(worker) = worker {
            let _ = timeout(GRACE, worker.shutdown()).await;
        }
        let _ = timeout(GRACE, watcher.shutdown()).await;
        if !matches!(timeout(GRACE, audit.flush()).await, Ok(Ok(()))) {
            tracing::error!("the audit trail is not complete");
        }
        let _ = timeout(GRACE, backend.close()).await;
        Ok(())
    }
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, BoxError> {
    let listener = TcpListener::bind(addr).await;
    Ok(listener.map_err(|error| format!("{addr}: {error}; --addr takes another one"))?)
}

async fn serve(listener: TcpListener, router: Router, stop: Stop) -> Result<(), BoxError> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stop.clone().wait());
    tokio::select! {
        result = serving.into_future() => result?,
        // A request that never ends does not keep the program from ending.
        () = async { stop.wait().await; sleep(GRACE).await } => {}
    }
    Ok(())
}

/// Creates the accounts that are missing, and says how to log in.
async fn seed(pools: &Pools, hashing: &HashPool, accounts: u32) -> Result<(), BoxError> {
    let password = keys::readable_password()?;
    let parsed = Policy::default().parse(&password, &Default::default())?;
    // Hashed once: 100,000 accounts take one hash and one transaction.
    let hash = hashing.hash(parsed).await?;
    let seeded = users::seed(pools, &hash, accounts).await?;
    if seeded.ada {
        say(&format!("initial password of ada@example.com: {password}"));
    } else {
        say("ada@example.com exists already, and so does its password");
    }
    let graces = keys::readable_password()?;
    if users::seed_grace(pools, bcrypt::hash(&graces, 10)?).await? {
        say(&format!(
            "initial password of grace@example.com, in bcrypt: {graces}"
        ));
    }
    let hedys = keys::readable_password()?;
    let parsed = Policy::default().parse(&hedys, &Default::default())?;
    let (hash, secret) = (hashing.hash(parsed).await?, totp::secret()?);
    if users::seed_hedy(pools, &hash, &secret).await? {
        say(&format!("initial password of {}: {hedys}", totp::OWNER));
        say(&format!("her second factor: {}", totp::url(&secret)));
    }
    if accounts > 0 {
        say(&format!(
            "accounts user-N@example.com: {} new of {accounts}",
            seeded.others
        ));
        if seeded.others > 0 {
            say(&format!("initial password of each new one: {password}"));
        }
    }
    Ok(())
}

/// The page that links lead to: from the configuration, never from a request's `Host` (W6).
///
/// Plain http is for this machine; the library refuses it for any other. An application puts its
/// `https://` address here.
fn link_base(address: SocketAddr) -> Result<String, BoxError> {
    let port = address.port();
    if port == 0 {
        return Err("links need an address to lead to: give --link-base, or a port".into());
    }
    Ok(match address.ip() {
        IpAddr::V6(ip) if ip.is_loopback() => format!("http://[{ip}]:{port}{RESET}"),
        ip if ip.is_loopback() => format!("http://{ip}:{port}{RESET}"),
        _ => {
            say("not a loopback address: links lead to this machine only, give --link-base");
            format!("http://localhost:{port}{RESET}")
        }
    })
}
