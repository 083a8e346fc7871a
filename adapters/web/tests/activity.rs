//! The operators' page: what it shows, what it hides, and what it does with hostile values.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use std::sync::Arc;
use std::time::Duration;

use password_reset::account::{Address, Client, Identifier, Tenant, UserId};
use password_reset::audit::log::{Arrival, AuditLog, Count, Page, Query, Spans};
use password_reset::audit::{Actor, AuditSink, Event, EventKind, RuleName};
use password_reset::error::BoxError;
use password_reset::flow::Parts;
use password_reset::mail::{LinkBase, Mailbox, Site};
use password_reset::memory::{MemoryLimiter, MemoryLog, MemoryQueue, MemoryTokens};
use password_reset::testing::{ManualClock, MemoryUsers, Outbox, block_on};
use password_reset::token::Keyring;
use password_reset::{ResetFlow, Timestamp, async_trait};
use password_reset_web::bytes::Bytes;
use password_reset_web::http::{Response, StatusCode};
use password_reset_web::{Activity, ResetWeb};

const PATH: &str = "/admin/resets";

struct World {
    flow: ResetFlow,
    log: MemoryLog,
    clock: ManualClock,
    activity: Activity,
}

impl World {
    fn new() -> Self {
        let (log, clock) = (MemoryLog::default(), ManualClock::default());
        let flow = ResetFlow::builder(Parts {
            site: Site::new(
                "Example & Söhne",
                LinkBase::parse("https://app.example.com/reset-password").unwrap(),
                "support@example.com",
                Mailbox::new(Address::parse("noreply@example.com").unwrap()),
            )
            .unwrap(),
            keyring: Keyring::ephemeral().unwrap(),
            users: Arc::new(MemoryUsers::default()),
            tokens: Arc::new(MemoryTokens::default()),
            queue: Arc::new(MemoryQueue::default()),
            mailer: Arc::new(Outbox::default()),
            limiter: Arc::new(MemoryLimiter::default()),
        })
        .clock(clock.clone())
        .audit(log.clone())
        .build()
        .unwrap();
        let web = ResetWeb::builder(flow.clone())
            .login("/login")
            .build()
            .unwrap();
        Self {
            activity: Activity::new(&web, PATH).unwrap(),
            flow,
            log,
            clock,
        }
    }

    fn now(&self) -> Timestamp {
        password_reset::clock::Clock::now(&self.clock)
    }

    fn event(&self, kind: EventKind) -> Event {
        Event::new(self.now(), kind)
    }

    fn record(&self, event: &Event) {
        self.log.record(event).unwrap();
    }

    fn ask(&self, address: &str) {
        let client = Client::from_ip([192, 0, 2, 7].into());
        let typed = Identifier::parse(address).unwrap();
        let _ = block_on(self.flow.request(&typed, &client)).unwrap();
    }

    fn page(&self, query: &str) -> Response<Bytes> {
        block_on(
            self.activity
                .page(&self.log, query, self.now() + Duration::from_secs(1)),
        )
    }

    fn find(&self, body: &str) -> Response<Bytes> {
        self.activity.find(&self.flow, body.as_bytes())
    }
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn location(response: &Response<Bytes>) -> &str {
    response.headers()["location"].to_str().unwrap()
}

/// The lines of the table of events.
fn listed(page: &str) -> usize {
    let events = page.split("<h2 id=\"events\">").nth(1).unwrap_or_default();
    events.matches("<tr class=").count()
}

#[test]
fn an_operator_sees_what_happened_and_finds_one_person() {
    let world = World::new();
    world.ask("ada@example.com");
    world.ask("bob@example.com");
    block_on(async {
        world.clock.advance(Duration::from_secs(3));
        world.flow.worker().run_due().await;
    });
    let page = world.page("");
    assert_eq!(page.status(), StatusCode::OK);
    let page = text(&page);
    assert_eq!(listed(page), 4, "{page}");
    assert!(page.contains("4 events from"));
    assert!(
        page.contains("taken: 2") && page.contains("no mail: 2"),
        "{page}"
    );
    assert!(page.contains("withheld.unknown"));
    assert!(!page.contains("@example.com"), "an address is shown");

    // Found by what she would type, in whatever spelling; the address is in no URL.
    let found = world.find("span=1h&typed=+Ada%40Example.COM+");
    assert_eq!(found.status(), StatusCode::SEE_OTHER);
    let (path, query) = location(&found).split_once('?').unwrap();
    assert_eq!(path, PATH);
    assert!(!query.contains("da%40") && !query.contains('@'), "{query}");
    assert_eq!(listed(text(&world.page(query))), 2);
    // Typed into the wrong field, it is in no URL either.
    let wrong = world.find("user=ada%40example.com");
    assert!(
        !location(&wrong).contains("example"),
        "{}",
        location(&wrong)
    );

    // The journey holds the request and what came of it.
    let journey = page.split("journey=job-").nth(1).unwrap();
    let journey = world.page(&format!("journey=job-{}", &journey[..32]));
    assert_eq!(listed(text(&journey)), 2);
}

/// W70, R77: whatever an application calls its users and operators.
#[test]
fn hostile_values_stay_text() {
    let world = World::new();
    let hostile = "<script>alert(1)</script>\"' onx=1 &amp; \u{202e}\u{2028}{{ 7*7 }}";
    let mut event = world.event(EventKind::LinkHandedOver);
    event.user = Some(UserId::parse(hostile).unwrap());
    event.tenant = Some(Tenant::parse(hostile).unwrap());
    event.actor = Some(Actor::parse(hostile).unwrap());
    world.record(&event);
    let page = world.page("");
    let page = text(&page);
    assert_eq!(listed(page), 1);
    for bad in [
        "<script",
        "\u{202e}",
        "\u{2028}",
        "49",
        "\" onx",
        "onx=1 &amp; ",
    ] {
        assert!(!page.contains(bad), "{bad}: {page}");
    }
    assert!(page.contains(r"\u{202e}\u{2028}{{ 7*7 }}"));
    // And in a filter that leads back.
    let query = "user=%3Cscript%3E%22%27%26amp%3B";
    let page = world.page(query);
    assert_eq!(page.status(), StatusCode::OK);
    assert!(!text(&page).contains("<script>"));
    for bad in [
        "user=a%0d%0aSet-Cookie%3A+a",
        "span=%3Cscript%3E",
        "who=%3Cscript%3E",
        "%3Cscript%3E=1",
        "v2=1",
        &"a".repeat(3_000),
    ] {
        let page = world.page(bad);
        assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{bad}");
        assert!(text(&page).contains("This filter cannot be read"));
        assert!(!text(&page).contains("<script>"));
    }
    let refused = world.find("typed=a%0d%0ab");
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let header = world.find("user=a%C2%A0b&source=2001%3Adb8%3A%3A1");
    assert_eq!(
        location(&header),
        "/admin/resets?source=2001%3Adb8%3A%3A&user=a%C2%A0b"
    );
}

/// R79, R80.
#[test]
fn every_answer_has_the_strict_headers_and_nothing_inline() {
    let world = World::new();
    for kind in EventKind::every() {
        world.record(&world.event(kind));
    }
    let style = world.page("");
    let style = text(&style).split("resets?v=").nth(1).unwrap();
    let style = format!("v={}", style.split('"').next().unwrap());
    for (query, keeps) in [("", false), ("span=nope", false), (style.as_str(), true)] {
        let page = world.page(query);
        let header = |name| page.headers()[name].to_str().unwrap();
        assert!(header("content-security-policy").contains("default-src 'none'"));
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(
            header("cache-control").contains("immutable"),
            keeps,
            "{query}"
        );
        let page = text(&page);
        for inline in [
            "style=\"",
            "<style",
            "<script",
            " onclick",
            "javascript:",
            "http://",
        ] {
            assert!(!page.contains(inline), "{query}: {inline}");
        }
    }
    let page = world.page("");
    let page = text(&page);
    assert_eq!(page.matches("role=\"img\"").count(), 6);
    assert_eq!(page.matches("as a table</summary>").count(), 6);
    // Every kind is shown by its code.
    for kind in EventKind::every()
        .iter()
        .filter(|kind| kind.number().is_none())
        .take(60)
    {
        assert!(text(&world.page(&format!("kind={}", kind.code()))).contains(&kind.code()));
    }
}

#[test]
fn pages_follow_each_other_and_filters_stay() {
    let world = World::new();
    for number in 0..250 {
        let mut event = world.event(EventKind::RateLimited);
        event.source = Some([192, 0, 2, u8::try_from(number % 5).unwrap()].into());
        world.record(&event);
        world.clock.advance(Duration::from_secs(1));
    }
    let (mut query, mut sizes) = (String::new(), Vec::new());
    loop {
        let page = world.page(&query);
        let page = text(&page);
        sizes.push(listed(page));
        let older = page.split("\">Older</a>").next().unwrap();
        let Some(next) = page
            .contains(">Older<")
            .then(|| older.rsplit('?').next().unwrap())
        else {
            break;
        };
        query = next.replace("&amp;", "&");
    }
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(
        listed(text(&world.page("source=192.0.2.3&severity=warn"))),
        50
    );
    assert_eq!(listed(text(&world.page("severity=critical"))), 0);
    // Older than the span that is asked for.
    world.clock.advance(Duration::from_secs(90 * 60));
    let hour = world.page("span=1h");
    assert_eq!(listed(text(&hour)), 0);
    assert_eq!(listed(text(&world.page("span=6h"))), 100);
}

#[test]
fn alarms_stand_on_top() {
    let world = World::new();
    let rule = RuleName::new("many_identifiers");
    world.record(&world.event(EventKind::Alarm { rule, count: 40 }));
    for _ in 0..150 {
        world.record(&world.event(EventKind::RateLimited));
    }
    let page = world.page("");
    let page = text(&page);
    let alarms = page.split("Latest alarms").nth(1).unwrap();
    assert!(
        alarms
            .split("<div class=\"charts\">")
            .next()
            .unwrap()
            .contains("alarm.many_identifiers:40")
    );
    assert!(page.contains("alarm: 1"));
}

/// W43: one tenant's operators see nothing of another's.
#[test]
fn a_tenants_page_shows_its_own_only() {
    let world = World::new();
    let (acme, other) = (
        Tenant::parse("acme").unwrap(),
        Tenant::parse("rival").unwrap(),
    );
    let job = password_reset::queue::JobId::from_bytes([7; 16]);
    for tenant in [Some(acme.clone()), Some(other), None] {
        let mut event = world.event(EventKind::Completed);
        event.tenant = tenant;
        event.job = Some(job);
        world.record(&event);
    }
    let own = world.activity.clone().within(acme);
    for query in [String::new(), format!("journey=job-{job}")] {
        let page = block_on(own.page(&world.log, &query, world.now() + Duration::from_secs(1)));
        assert_eq!(listed(text(&page)), 1, "{query}");
        assert!(!text(&page).contains("rival"), "{query}");
    }
}

/// A log whose database is away.
struct Away;

#[async_trait]
impl AuditLog for Away {
    async fn read(&self, _: &Query) -> Result<Page, BoxError> {
        Err("ada@example.com is where it failed".into())
    }
    async fn count(&self, _: &Query, _: &Spans) -> Result<Vec<Count>, BoxError> {
        Err("away".into())
    }
    async fn arrived(&self, _: Arrival, _: u32) -> Result<Page, BoxError> {
        Err("away".into())
    }
    async fn latest(&self) -> Result<Arrival, BoxError> {
        Err("away".into())
    }
    async fn purge(&self, _: Timestamp, _: u32) -> Result<u64, BoxError> {
        Err("away".into())
    }
    async fn forget(&self, _: &UserId) -> Result<u64, BoxError> {
        Err("away".into())
    }
}

#[test]
fn a_log_that_fails_is_said_and_not_quoted() {
    let world = World::new();
    for query in ["", "journey=job-0123456789abcdef0123456789abcdef"] {
        let page = block_on(world.activity.page(&Away, query, world.now()));
        assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(&page).contains("cannot be read at this moment"));
        assert!(!text(&page).contains("ada@"));
    }
}

#[test]
fn only_a_plain_path_is_taken() {
    let world = World::new();
    let web = ResetWeb::builder(world.flow.clone())
        .login("/login")
        .build()
        .unwrap();
    for bad in ["", "admin", "//evil.example", "/a?b", "/a\"b", "/a b"] {
        assert!(Activity::new(&web, bad).is_err(), "{bad}");
    }
}
