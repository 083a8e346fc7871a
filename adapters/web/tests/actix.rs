//! What real sockets do to the glue for actix-web.

#![cfg(feature = "actix")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use password_reset::ResetFlow;
use password_reset::account::{Account, Address, Client, Credential, Identifier, UserId};
use password_reset::flow::Parts;
use password_reset::mail::{LinkBase, Mailbox, Site};
use password_reset::memory::{MemoryLimiter, MemoryQueue, MemoryTokens};
use password_reset::password::{
    Argon2id, Candidate, HashPool, HasherError, NewPassword, PasswordHash, PasswordHasher, Scratch,
};
use password_reset::testing::{ManualClock, MemoryUsers, Outbox};
use password_reset::token::Keyring;
use password_reset_web::ResetWeb;
use password_reset_web::actix::configure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const OLD: &str = "$test$old";
const LONG: Duration = Duration::from_secs(20);

/// A server whose hasher says when it begins, and then waits for a word.
struct Served {
    address: SocketAddr,
    users: MemoryUsers,
    outbox: Outbox,
    flow: ResetFlow,
    clock: ManualClock,
    began: Receiver<()>,
    go: Sender<()>,
    handle: ServerHandle,
    server: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn start() -> Self {
        let (begin, began) = channel();
        let (go, gone) = channel();
        let hashing = HashPool::new(Gated {
            begin: Mutex::new(begin),
            gone: Mutex::new(gone),
            hasher: Argon2id::default(),
        });
        let users = MemoryUsers::default();
        let old = Credential::Password(PasswordHash::parse(OLD).unwrap());
        let ada = Account::new(ada(), old);
        users.add(ada.verified(Address::parse("ada@example.com").unwrap()));
        let (outbox, clock) = (Outbox::default(), ManualClock::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let base = LinkBase::parse(&format!("http://{address}/reset-password")).unwrap();
        let sender = Mailbox::new(Address::parse("noreply@example.com").unwrap());
        let flow = ResetFlow::builder(Parts {
            site: Site::new("Example", base, "support@example.com", sender).unwrap(),
            keyring: Keyring::ephemeral().unwrap(),
            users: Arc::new(users.clone()),
            tokens: Arc::new(MemoryTokens::default()),
            queue: Arc::new(MemoryQueue::default()),
            mailer: Arc::new(outbox.clone()),
            limiter: Arc::new(MemoryLimiter::default()),
        })
        .hashing(hashing.unwrap())
        .clock(clock.clone())
        .build()
        .unwrap();
        let pages = configure(ResetWeb::builder(flow.clone()).build().unwrap());
        let server = HttpServer::new(move || App::new().configure(pages.clone()))
            .workers(1)
            .disable_signals()
            .shutdown_timeout(1)
            .listen(listener)
            .unwrap()
            .run();
        Self {
            address,
            users,
            outbox,
            flow,
            clock,
            began,
            go,
            handle: server.handle(),
            server: tokio::spawn(server),
        }
    }

    /// A request that sets the password, with a good token in it.
    async fn change(&self) -> String {
        let ada = Identifier::parse("ada@example.com").unwrap();
        let client = Client::from_ip([192, 0, 2, 7].into());
        self.flow.request(&ada, &client).await.unwrap();
        self.clock.advance(Duration::from_secs(2));
        self.flow.worker().run_due().await;
        let token = self.outbox.last_token().unwrap();
        format!("{{\"token\":\"{token}\",\"password\":\"a quiet harbour at dawn\"}}")
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn send(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        answer(stream).await
    }

    fn hash(&self) -> String {
        self.users.hash_of(&ada()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_get_without_the_body() {
    let served = Served::start().await;
    for (path, status) in [("/forgot-password", 200), ("/reset-password", 404)] {
        let close = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let get = served.send(format!("GET {path} {close}")).await;
        let head = served.send(format!("HEAD {path} {close}")).await;
        let length = get.split_once("\r\n\r\n").unwrap().1.len();
        assert!(length > 500);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        let length = format!("content-length: {length}\r\n");
        for answer in [get, head] {
            assert!(answer.to_lowercase().contains(&length), "{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w26_whoever_sends_ten_mebibytes_is_told_that_it_is_too_much() {
    let served = Served::start().await;
    let size = 10 << 20;
    let mut request = post(&format!("Content-Length: {size}")).into_bytes();
    request.resize(request.len() + size, b'a');
    let answer = served.send(request).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_cut_off_changes_nothing() {
    let served = Served::start().await;
    let body = served.change().await;
    // Whole as JSON, but not as long as was said.
    let length = format!("Content-Length: {}", body.len() + 1);
    let chunk = format!("{:x}\r\n{body}", body.len());
    for (how, body) in [
        (&*length, &*body),
        ("Transfer-Encoding: chunked", &*chunk),
        ("Transfer-Encoding: chunked", &format!("{chunk}\r\n")),
    ] {
        let mut stream = served.connect().await;
        stream.write_all(post(how).as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = answer(stream).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{how}: {answer}");
    }
    assert!(served.began.try_recv().is_err());
    assert_eq!(served.hash(), OLD);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_goes_on_when_its_client_hangs_up_and_the_server_stops() {
    let served = Served::start().await;
    let body = served.change().await;
    let mut stream = served.connect().await;
    let head = post(&format!("Content-Length: {}", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let began = tokio::task::spawn_blocking(move || served.began.recv_timeout(LONG));
    began.await.unwrap().unwrap();

    // Not only no more to say (FIN): gone (RST).
    stream.set_zero_linger().unwrap();
    drop(stream);
    served.handle.stop(true).await;
    served.server.await.unwrap().unwrap();
    assert_eq!(served.users.hash_of(&ada()).unwrap(), OLD);

    served.go.send(()).unwrap();
    let changed = async {
        while served.users.hash_of(&ada()).unwrap() == OLD {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, changed).await.expect("the change was cut");
}

/// Others have addresses of their own, and so limits of their own. (Only Linux has all of 127/8.)
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connections_address_is_the_clients() {
    let served = Served::start().await;
    let ask = async |from: Ipv4Addr, name: u32| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(served.address).await.unwrap();
        let body = format!("identifier=user-{name}%40example.com");
        let request = format!(
            "POST /forgot-password HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             X-Forwarded-For: 198.51.100.{name}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        answer(stream).await[9..12].to_owned()
    };
    let (one, another) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    for name in 0..20 {
        assert_eq!(ask(one, name).await, "303");
    }
    assert_eq!(ask(one, 20).await, "429");
    assert_eq!(ask(another, 21).await, "303");
}

/// The head of a change; `length` says how long the body is.
fn post(length: &str) -> String {
    format!(
        "POST /reset-password HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Accept: application/json\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    )
}

async fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let read = timeout(LONG, stream.read_to_string(&mut answer)).await;
    read.expect("in time").unwrap();
    answer
}

fn ada() -> UserId {
    UserId::parse("1").unwrap()
}

struct Gated {
    begin: Mutex<Sender<()>>,
    gone: Mutex<Receiver<()>>,
    hasher: Argon2id,
}

impl PasswordHasher for Gated {
    fn hash(
        &self,
        password: &NewPassword,
        scratch: &mut Scratch,
    ) -> Result<PasswordHash, HasherError> {
        let _ = self.begin.lock().unwrap().send(());
        let _ = self.gone.lock().unwrap().recv();
        self.hasher.hash(password, scratch)
    }

    fn verify(
        &self,
        candidate: &Candidate,
        stored: &PasswordHash,
        scratch: &mut Scratch,
    ) -> Result<bool, HasherError> {
        self.hasher.verify(candidate, stored, scratch)
    }

    fn needs_rehash(&self, stored: &PasswordHash) -> bool {
        self.hasher.needs_rehash(stored)
    }

    fn max_bytes(&self) -> Option<usize> {
        self.hasher.max_bytes()
    }
}
