//! A forgotten password on actix-web: `cargo run -p password-reset-actix-example`.
//!
//! This file is what an application adds. [`login`] stands for the login that it has already.

mod login;

use std::io::{Write, stderr, stdout};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::ErrorRequestTimeout;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{Data, FormConfig, get, resource, scope};
use actix_web::{App, Error, HttpResponse, HttpServer};
use password_reset::account::Address;
use password_reset::error::BoxError;
use password_reset::flow::{Parts, ResetFlow, WorkerOptions};
use password_reset::mail::{LinkBase, Mailbox, Mailer, Message, SendError, Site};
use password_reset::password::{Argon2id, HashPool, Policy};
use password_reset::token::Keyring;
use password_reset_sqlx::sqlx::{query, raw_sql, sqlite::SqlitePoolOptions};
use password_reset_sqlx::{EndSessions, Flag, SqlUserStore, SqliteBackend, UserTable};
use password_reset_web::actix::{add_page_headers, configure, headers};
use password_reset_web::{MAX_BODY_BYTES, ResetWeb};
use tokio::time::timeout;

const GRACE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3001");
    let listener = TcpListener::bind(address.parse::<SocketAddr>()?)?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err("without https and without a mail server: on a loopback address only".into());
    }

    // In memory, so on one connection that is never closed. A site has a file or a server.
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect("sqlite::memory:")
        .await?;
    raw_sql(include_str!("schema.sql")).execute(&pool).await?;
    let backend = SqliteBackend::with_pools(pool.clone(), pool.clone());
    backend.migrate().await?;
    let table = UserTable::new("users", Flag::Truth("verified")).disabled(Flag::Truth("disabled"));
    // Also whatever else logs in without the password: remembered devices, API tokens.
    let end = EndSessions::statement("DELETE FROM sessions WHERE user_id = ?1");
    let users = SqlUserStore::new(pool.clone(), table, end);
    users.check().await?;
    let users = Arc::new(users);

    // One pool for resets and logins, so that all hashing together stays within one bound.
    let hashing = HashPool::new(Argon2id::default())?;
    let initial = login::random::<12>()?;
    let parsed = Policy::default().parse(&initial, &Default::default())?;
    query("INSERT INTO users (email, password_hash, verified) VALUES ('ada@example.com', ?1, 1)")
        .bind(hashing.hash(parsed).await?.expose())
        .execute(&pool)
        .await?;

    // From the configuration, never from a request's `Host`. A site's begins with `https://`; the
    // library refuses plain http that leaves this machine.
    let base = LinkBase::parse(&format!("http://{address}/reset-password"))?;
    let not_me = LinkBase::parse(&format!("http://{address}/reset-password/not-me"))?;
    let sender = Mailbox::new(Address::parse("no-reply@example.com")?);
    let flow = ResetFlow::builder(Parts {
        site: Site::new("Example", base, "support@example.com", sender)?.cancel_page(not_me),
        // Links die with the program. A site's keys are with its other secrets, and never in the
        // database: whoever can write there could make links.
        keyring: Keyring::ephemeral()?,
        users: users.clone(),
        tokens: Arc::new(backend.clone()),
        queue: Arc::new(backend.clone()),
        mailer: Arc::new(Terminal),
        limiter: Arc::new(backend.clone()),
    })
    .hashing(hashing.clone())
    .build()?;
    let worker = flow.worker().spawn(WorkerOptions::default());
    // Behind a reverse proxy also `.proxies(…)`, or all clients count as one.
    let web = ResetWeb::builder(flow).build()?;

    let logins = login::Logins::new(web.clone(), pool.clone(), users, backend, hashing).await?;
    let (logins, pages, web) = (Data::new(logins), configure(web.clone()), Data::new(web));
    let server = HttpServer::new(move || {
        let own = scope("")
            .wrap(from_fn(surround))
            .route("/", get().to(login::home))
            .service(resource("/login").get(login::form).post(login::log_in));
        App::new()
            .app_data(web.clone())
            .app_data(logins.clone())
            .app_data(FormConfig::default().limit(MAX_BODY_BYTES))
            // The ready-made pages surround themselves; every other path is for `own`.
            .configure(pages.clone())
            .service(own)
    });
    println!("initial password of ada@example.com: {initial}");
    println!("listening on http://{address}");
    // Until SIGTERM, which lets running requests end, or ctrl-c, which does not.
    let server = server.shutdown_timeout(GRACE.as_secs());
    server.listen(listener)?.run().await?;
    // Jobs that run are finished; in a database that stays, the others wait for the next start.
    let _ = timeout(GRACE, worker.shutdown()).await;
    let _ = timeout(GRACE, pool.close()).await;
    Ok(())
}

/// What surrounds the application's own pages: the same as the ready-made ones have.
async fn surround(
    web: Data<ResetWeb>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let own = request.method().is_safe() || web.is_own_origin(&headers(request.headers()));
    let answer = match own {
        true => timeout(web.body_timeout(), next.call(request)).await,
        false => Ok(Ok(request.into_response(HttpResponse::Forbidden()))),
    };
    // A form may take no longer to arrive than on the ready-made pages.
    let mut answer = answer.map_err(|_| ErrorRequestTimeout("too slow"))??;
    add_page_headers(answer.headers_mut(), web.is_https());
    Ok(answer)
}

/// In place of a mail server. A real mailer must never log a mail: it holds a live link.
struct Terminal;

#[password_reset::async_trait]
impl Mailer for Terminal {
    async fn send(&self, mail: &Message) -> Result<(), SendError> {
        let (to, text) = (mail.to().as_str(), mail.text());
        writeln!(stdout(), "\nTo: {to}\n\n{text}").map_err(SendError::transient)
    }
}
