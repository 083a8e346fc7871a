//! Every letter in every language, to look at: `cargo run --example letters [folder]`.
//!
//! Writes the text part and the HTML part of each into a folder for its language, and the text
//! message beside them. Without a folder a new one among the temporary files is taken, and named.
//! Nothing in the letters is real: the links lead nowhere, and the code opens nothing.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use password_reset::account::{Address, Seen};
use password_reset::clock::Timestamp;
use password_reset::error::BoxError;
use password_reset::mail::{
    Hint, Letter, LinkBase, Mailbox, Occasion, PasswordChanged, ResetCode, ResetLink, Site,
    StandardLetters, Templates,
};
use password_reset::text::Language;
use secrecy::{ExposeSecret, SecretString};

const HALF_HOUR: Duration = Duration::from_secs(30 * 60);
const THREE_DAYS: Duration = Duration::from_secs(3 * 86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const TEN_MINUTES: Duration = Duration::from_secs(10 * 60);
/// 23 April 2026, 09:41 UTC.
const CHANGED_AT: Timestamp = Timestamp::from_unix_micros(1_776_937_260_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => std::env::temp_dir().join(format!("letters-{}", std::process::id())),
    };
    let site = Site::new(
        "Example",
        LinkBase::parse("https://app.example.com/reset-password")?,
        "support@example.com",
        Mailbox::new(Address::parse("no-reply@example.com")?),
    )?;
    for language in Language::ALL {
        let folder = folder.join(language.tag());
        fs::create_dir_all(&folder)?;
        write_all(&folder, &site, language).map_err(|error| error.to_string())?;
    }
    println!("{}", folder.display());
    Ok(())
}

fn write_all(folder: &Path, site: &Site, language: Language) -> Result<(), BoxError> {
    let letters = StandardLetters::default();
    let locale = Some(language.tag());
    let link = invented("?token=");
    let cancel = invented("/cancel?token=");
    let code = SecretString::from("40718293");

    for (name, occasion, life, cancel) in [
        ("link", Occasion::Asked, HALF_HOUR, None),
        ("link-cancel", Occasion::Asked, HALF_HOUR, Some(&cancel)),
        ("link-operator", Occasion::Operator, THREE_DAYS, None),
        ("link-first", Occasion::First, WEEK, None),
        ("link-first-asked", Occasion::FirstAsked, HALF_HOUR, None),
    ] {
        let mut facts = ResetLink::new(site, &link, life, locale);
        facts.occasion = occasion;
        facts.cancel = cancel;
        write(folder, name, &letters.reset_link(&facts)?)?;
    }

    let mut facts = ResetCode::new(site, &code, TEN_MINUTES, locale);
    let text = letters.code_text(&facts)?;
    fs::write(folder.join("code-message.txt"), text.expose_secret())?;
    write(folder, "code", &letters.reset_code(&facts)?)?;
    facts.cancel = Some(&cancel);
    write(folder, "code-cancel", &letters.reset_code(&facts)?)?;

    let mut facts = PasswordChanged::new(site, CHANGED_AT, locale);
    write(folder, "changed", &letters.password_changed(&facts)?)?;
    let seen = Seen::default().device("Firefox on Windows")?;
    let seen = seen.place("Lyon, France")?;
    facts.seen = Some(&seen);
    facts.cancel = Some(&cancel);
    write(folder, "changed-cancel", &letters.password_changed(&facts)?)?;

    let hint = Hint::new(site, locale);
    write(folder, "no-account", &letters.no_account(&hint)?)?;
    write(folder, "use-provider", &letters.use_provider(&hint)?)
}

/// A link as long as a real one, that can be seen not to be one.
fn invented(behind_base: &str) -> SecretString {
    let token = "example-".repeat(8);
    format!("https://app.example.com/reset-password{behind_base}{token}").into()
}

/// The text part begins with the subject, which HTML has as its title.
fn write(folder: &Path, name: &str, letter: &Letter) -> Result<(), BoxError> {
    let text = format!("{}\n\n{}", letter.subject, letter.text.expose_secret());
    fs::write(folder.join(format!("{name}.txt")), text)?;
    let html = letter.html.expose_secret();
    fs::write(folder.join(format!("{name}.html")), html)?;
    Ok(())
}
