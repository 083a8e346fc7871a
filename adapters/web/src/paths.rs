//! Where the pages are: [`Paths`].

use std::collections::BTreeSet;

use password_reset::mail::{LinkBase, Site};

/// Where password managers look for the page that changes a password (R84).
pub const CHANGE_PASSWORD: &str = "/.well-known/change-password";

const MAX_PATH_BYTES: usize = 256;

/// Where the pages are, as a browser sees them.
///
/// ```
/// use password_reset::mail::LinkBase;
/// use password_reset_web::Paths;
///
/// // Links lead to the page that takes the new password; the others are beside and below it.
/// let paths = Paths::of(&LinkBase::parse("https://app.example.com/account/new-password").unwrap());
/// assert_eq!(paths.choose(), "/account/new-password");
/// assert_eq!(paths.ask(), "/account/forgot-password");
/// assert_eq!(paths.cancel(), "/account/new-password/not-me");
///
/// let paths = Paths::under("/auth").unwrap();
/// assert_eq!(paths.choose(), "/auth/reset-password");
/// assert_eq!(paths.ask(), "/auth/forgot-password");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Paths {
    ask: String,
    choose: String,
    cancel: String,
    stripped: String,
}

/// Not a plain path, which begins with `/` and holds only letters, digits and `-._~/`; or not the
/// beginning of the pages' paths, where that is asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path:?} is not {wanted}")]
pub struct InvalidPath {
    path: String,
    wanted: &'static str,
}

impl InvalidPath {
    pub(crate) fn not_plain(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            wanted: "a plain path: a slash, then letters, digits and -._~/",
        }
    }
}

/// A page or a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    Ask,
    Sent,
    Code,
    Challenge,
    Choose,
    Factor,
    Done,
    Cancel,
    Cancelled,
    Style,
    Script,
    Work,
    ChangePassword,
}

impl Paths {
    /// The page that links lead to, `forgot-password` beside it, and the page of "this wasn't me"
    /// where the site says that it is. The default.
    pub fn of_site(site: &Site) -> Self {
        let mut paths = Self::of(site.base());
        if let Some(page) = site.cancel_base() {
            page.path().clone_into(&mut paths.cancel);
        }
        paths
    }

    /// The page that links lead to, `forgot-password` beside it, and `not-me` below it.
    pub fn of(base: &LinkBase) -> Self {
        let choose = base.path();
        let folder = below(choose)
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        Self {
            ask: format!("{folder}/forgot-password"),
            choose: choose.to_owned(),
            cancel: format!("{}/not-me", below(choose)),
            stripped: String::new(),
        }
    }

    /// `forgot-password`, `reset-password` and `reset-password/not-me` under a path; under `/` it is
    /// `""`.
    ///
    /// For services whose links lead to a page of their own, which then posts JSON here.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] for what is not a plain path.
    pub fn under(path: &str) -> Result<Self, InvalidPath> {
        let given = path;
        let path = below(path);
        // The other is a second slash at the end.
        if (!path.is_empty() && !is_plain(path)) || path.ends_with('/') {
            return Err(InvalidPath::not_plain(given));
        }
        Ok(Self {
            ask: format!("{path}/forgot-password"),
            choose: format!("{path}/reset-password"),
            cancel: format!("{path}/reset-password/not-me"),
            stripped: String::new(),
        })
    }

    /// Puts the page that asks whose password it is somewhere else.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] for what is not a plain path.
    pub fn ask_at(mut self, path: &str) -> Result<Self, InvalidPath> {
        if !is_plain(path) {
            return Err(InvalidPath::not_plain(path));
        }
        path.clone_into(&mut self.ask);
        Ok(self)
    }

    /// Puts the page of "this wasn't me" somewhere else. The links in the mails lead to where the
    /// [`Site`] says, which has to be the same.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] for what is not a plain path.
    pub fn cancel_at(mut self, path: &str) -> Result<Self, InvalidPath> {
        if !is_plain(path) {
            return Err(InvalidPath::not_plain(path));
        }
        path.clone_into(&mut self.cancel);
        Ok(self)
    }

    /// The beginning that a proxy, or a router that nests this one, takes off every path before it
    /// arrives here. Paths without it arrive as they are.
    ///
    /// So does [`CHANGE_PASSWORD`], which nobody looks for below the prefix: redirect it to
    /// [`ask`](Self::ask) in the application itself.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] for what is not a plain path, or not the beginning of the paths of all
    /// three pages.
    pub fn stripped(mut self, prefix: &str) -> Result<Self, InvalidPath> {
        let prefix = below(prefix);
        let begins = |path: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if ![&self.ask, &self.choose, &self.cancel]
            .into_iter()
            .all(|path| begins(path))
        {
            return Err(InvalidPath {
                path: prefix.to_owned(),
                wanted: "the beginning of the paths of all pages",
            });
        }
        prefix.clone_into(&mut self.stripped);
        Ok(self)
    }

    /// The page that asks whose password it is.
    pub fn ask(&self) -> &str {
        &self.ask
    }

    /// The page that says that a mail may be on its way.
    pub fn sent(&self) -> String {
        format!("{}/sent", below(&self.ask))
    }

    /// The page that takes a code.
    pub fn code(&self) -> String {
        format!("{}/code", below(&self.ask))
    }

    /// The work that a program does before it asks, in JSON.
    pub fn challenge(&self) -> String {
        format!("{}/challenge", below(&self.ask))
    }

    /// The page that takes the new password.
    pub fn choose(&self) -> &str {
        &self.choose
    }

    /// The page that takes the second factor.
    pub fn factor(&self) -> String {
        format!("{}/factor", below(&self.choose))
    }

    /// The page that says that the password is changed.
    pub fn done(&self) -> String {
        format!("{}/done", below(&self.choose))
    }

    /// The page of "this wasn't me".
    pub fn cancel(&self) -> &str {
        &self.cancel
    }

    /// The page that says that the resets are cancelled.
    pub fn cancelled(&self) -> String {
        format!("{}/done", below(&self.cancel))
    }

    /// The style sheet.
    pub fn style(&self) -> String {
        format!("{}/style.css", below(&self.choose))
    }

    /// The script.
    pub fn script(&self) -> String {
        format!("{}/script.js", below(&self.choose))
    }

    /// The script of the page that asks for work.
    pub fn work(&self) -> String {
        format!("{}/work.js", below(&self.choose))
    }

    /// Lines for `robots.txt`: nothing here is for search engines (R79). Without any token, which
    /// would be an invitation.
    pub fn robots(&self) -> String {
        let pages = [&self.ask, &self.choose, &self.cancel];
        pages.map(|page| format!("Disallow: {page}\n")).concat()
    }

    /// Every path as it arrives here, for a router.
    pub fn arriving(&self) -> impl Iterator<Item = String> {
        let seen = [
            self.ask.clone(),
            self.sent(),
            self.code(),
            self.challenge(),
            self.choose.clone(),
            self.factor(),
            self.done(),
            self.cancel.clone(),
            self.cancelled(),
            self.style(),
            self.script(),
            self.work(),
        ];
        let arriving = seen.map(|path| match path.strip_prefix(&self.stripped) {
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            _ => path,
        });
        arriving.into_iter().chain([CHANGE_PASSWORD.to_owned()])
    }

    /// A path that two pages have.
    pub(crate) fn collision(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        self.arriving()
            .find(|path| !seen.insert(below(path).to_owned()))
    }

    pub(crate) fn route(&self, path: &str) -> Option<Route> {
        const ROUTES: [Route; 13] = [
            Route::Ask,
            Route::Sent,
            Route::Code,
            Route::Challenge,
            Route::Choose,
            Route::Factor,
            Route::Done,
            Route::Cancel,
            Route::Cancelled,
            Route::Style,
            Route::Script,
            Route::Work,
            Route::ChangePassword,
        ];
        let mut known = self.arriving().zip(ROUTES);
        known.find_map(|(known, route)| (known == path).then_some(route))
    }
}

/// Without a slash at its end, so that something can follow.
fn below(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// One spelling, and nothing that HTML, a header line or a browser would read as something else:
/// `//evil.example` is another host, and so is `/\evil.example` (W8).
pub(crate) fn is_plain(path: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let plain =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(unreserved);
    let Some(inside) = path.strip_prefix('/') else {
        return false;
    };
    path.len() <= MAX_PATH_BYTES && (inside.is_empty() || below(inside).split('/').all(plain))
}

/// The address of a page to link to: a path of this site, or a page on https. Configuration only:
/// no request says where anything leads to.
pub(crate) fn is_target(target: &str) -> bool {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~=&".contains(&byte);
    let page = match path.starts_with("https://") {
        true => LinkBase::parse(path).is_ok(),
        false => is_plain(path),
    };
    page && query.bytes().all(plain)
}

/// Whether somebody can be sent on there without leaving the site of this origin.
pub(crate) fn is_target_within(target: &str, origin: &str) -> bool {
    let path = target.strip_prefix(origin).unwrap_or(target);
    path.starts_with('/') && is_target(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;

    fn of(base: &str) -> Paths {
        Paths::of(&LinkBase::parse(base).unwrap())
    }

    #[test]
    fn paths_stand_beside_the_page_that_links_lead_to() {
        for (base, choose, ask, done) in [
            (
                "https://a.example/reset",
                "/reset",
                "/forgot-password",
                "/reset/done",
            ),
            (
                "https://a.example/x/reset/",
                "/x/reset/",
                "/x/forgot-password",
                "/x/reset/done",
            ),
            ("https://a.example/", "/", "/forgot-password", "/done"),
        ] {
            let paths = of(base);
            assert_eq!((paths.choose(), paths.ask()), (choose, ask));
            assert_eq!(paths.done(), done);
            assert_eq!(paths.route(choose), Some(Route::Choose));
            assert_eq!(paths.route(ask), Some(Route::Ask));
            assert_eq!(paths.route(done), Some(Route::Done));
            assert_eq!(paths.route(paths.cancel()), Some(Route::Cancel));
            assert_eq!(paths.route(&paths.cancelled()), Some(Route::Cancelled));
            assert_eq!(paths.route(CHANGE_PASSWORD), Some(Route::ChangePassword));
            assert_eq!(paths.route("/nowhere"), None);
        }
    }

    #[test]
    fn a_stripped_prefix_is_written_but_not_read() {
        let paths = Paths::under("/auth").unwrap().stripped("/auth").unwrap();
        assert_eq!(paths.choose(), "/auth/reset-password");
        assert_eq!(paths.route("/reset-password"), Some(Route::Choose));
        assert_eq!(paths.route("/auth/reset-password"), None);
        assert!(Paths::under("/auth").unwrap().stripped("/au").is_err());
        assert!(Paths::under("/auth").unwrap().stripped("/other").is_err());
        for taken in ["/reset-password/", "/reset-password/done", CHANGE_PASSWORD] {
            assert!(
                Paths::under("/")
                    .unwrap()
                    .ask_at(taken)
                    .unwrap()
                    .collision()
                    .is_some(),
                "{taken}"
            );
        }
        assert_eq!(
            of("https://a.example/forgot-password").collision(),
            Some("/forgot-password".to_owned())
        );
        assert_eq!(of("https://a.example/").collision(), None);
        let paths = Paths::under("").unwrap().ask_at("/forgot").unwrap();
        assert_eq!(paths.route("/forgot/sent"), Some(Route::Sent));
    }

    #[test]
    fn w8_only_plain_paths_and_https_pages_are_linked_to() {
        for good in [
            "/login",
            "/login?reset=done",
            "/",
            "https://app.example.org/login",
        ] {
            assert!(is_target(good), "{good}");
        }
        for bad in [
            "",
            "login",
            "//evil.example",
            "/\\evil.example",
            "//",
            "/a//b",
            "/../a",
            "https:evil.example",
            "https://app.example.org@evil.example/",
            "http://app.example.org/login",
            "javascript:alert(1)",
            "/login?next=//evil.example",
            "/login\r\nSet-Cookie: a=b",
            "/login\"",
        ] {
            assert!(!is_target(bad), "{bad:?}");
        }
        for bad in ["//", "//evil.example", "/a//", "/a//b", "a"] {
            assert!(Paths::under(bad).is_err(), "{bad}");
            assert!(Paths::under("").unwrap().ask_at(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Paths::under("auth/").unwrap_err().to_string(),
            "\"auth/\" is not a plain path: a slash, then letters, digits and -._~/"
        );
        let paths = Paths::under("/auth").unwrap();
        assert_eq!(
            paths.stripped("/au").unwrap_err().to_string(),
            "\"/au\" is not the beginning of the paths of all pages"
        );
    }
}
