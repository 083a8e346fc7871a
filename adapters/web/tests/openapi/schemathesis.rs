//! [schemathesis](https://schemathesis.readthedocs.io) reads the document and tries to find requests
//! that the service does not answer as it says.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use password_reset::flow::Limits;
use password_reset::limit::Unlimited;
use password_reset_web::axum::router;

use crate::world::{GOOD, World};

const VARIABLE: &str = "PASSWORD_RESET_TEST_SCHEMATHESIS";

/// Links for one run, each of its own account: a few may be spent.
const LINKS: usize = 200;

/// `None`, loudly, where there is no schemathesis.
fn program() -> Option<OsString> {
    let program = std::env::var_os(VARIABLE).unwrap_or_else(|| "schemathesis".into());
    match Command::new(&program).arg("--version").output() {
        Ok(output) if output.status.success() => Some(program),
        _ => {
            let text = format!(
                "\nSKIPPED: no schemathesis. The OpenAPI document was not tried on the service; \
                `pip install schemathesis`, or name the program in {VARIABLE}.\n"
            );
            assert!(std::env::var_os("CI").is_none(), "{text}");
            // Past the harness, which keeps quiet about what passes.
            let _ = std::io::stderr().write_all(text.as_bytes());
            None
        }
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// What schemathesis has to know beyond the document: tokens that are good, and what is so by
/// design.
async fn configuration(world: &World) -> String {
    let mut tokens = Vec::new();
    for link in 0..LINKS {
        tokens.push(world.token(&format!("user{link}")).await);
    }
    // Some of them for the other page: each page gets tokens of both, as in life.
    for link in 0..LINKS / 4 {
        tokens.push(world.not_me(&format!("other{link}")).await);
    }
    // The cookies of some browsers, and the forms that go with all but one, whose link stays good.
    let (mut kept, mut seals) = (vec![world.token("reader").await], Vec::new());
    for browser in 0..4 {
        let (token, seal) = world.opened(&format!("browser{browser}")).await;
        kept.push(token);
        seals.push(seal);
    }
    let (mut disowned, mut buttons) = (Vec::new(), Vec::new());
    for browser in 0..4 {
        let (token, seal) = world.opened_not_me(&format!("owner{browser}")).await;
        disowned.push(token);
        buttons.push(seal);
    }
    seals.extend(buttons);
    format!(
        r#"
[dictionaries]
tokens = {{ values = {tokens:?} }}
kept = {{ values = {kept:?} }}
seals = {{ values = {seals:?} }}
disowned = {{ values = {disowned:?} }}
passwords = {{ values = [{GOOD:?}, "short"] }}

[parameters]
"query.token" = {{ dictionary = "tokens", probability = 0.3 }}
"cookie.__Host-password-reset" = {{ dictionary = "kept", probability = 0.5 }}
"cookie.__Host-password-reset-cancel" = {{ dictionary = "disowned", probability = 0.5 }}
"body.token" = {{ dictionary = "tokens", probability = 0.5 }}
"body.form" = {{ dictionary = "seals", probability = 0.5 }}
"body.password" = {{ dictionary = "passwords", probability = 0.5 }}

# A token of the right type may still be nobody's, a form that of another link, and a password one
# that the policy refuses.
[[operations]]
include-path-regex = "^/reset-password"
include-method = "POST"
checks.positive_data_acceptance.expected-statuses = ["2xx", "3xx", "403", "404", "409", "422"]
"#
    )
}

/// Runs it against a service of its own. `accept` decides between pages and JSON.
async fn run(program: OsString, accept: &str, seed: &str) {
    let world = World::new(Unlimited, Limits::default());
    let folder = folder(&format!("schemathesis-{seed}"));
    let configuration = configuration(&world).await;
    std::fs::write(folder.join("schemathesis.toml"), configuration).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = router(world.web.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let mut command = Command::new(program);
    command
        .current_dir(&folder)
        .env("NO_PROXY", "127.0.0.1")
        .args(["--config-file", "schemathesis.toml", "--no-color", "run"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"))
        .args(["--url", &url, "--header", &format!("Accept: {accept}")])
        // No phase `stateful`: no answer links to another operation, the way leads through a mail.
        .args(["--phases", "examples,coverage,fuzzing", "--mode", "all"])
        .args(["--checks", "all", "--continue-on-failure"])
        .args(["--max-examples", "300", "--seed", seed])
        .args(["--generation-database", "none"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .args(["--request-timeout", "10"]);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    server.abort();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_answers_programs_as_it_is_documented() {
    if let Some(program) = program() {
        run(program, "application/json", "1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_answers_browsers_as_it_is_documented() {
    if let Some(program) = program() {
        run(program, "text/html", "2").await;
    }
}
