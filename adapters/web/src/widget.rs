//! The widget of another service's captcha, on the page that asks whose password it is: [`Widget`].

use std::borrow::Cow;
use std::fmt;

/// The longest site key, in bytes. Those of the three services have 24 to 40.
const MAX_SITE_KEY_BYTES: usize = 100;
/// The longest action that Turnstile takes.
const MAX_ACTION_BYTES: usize = 32;
/// What the proof is called in every form, whichever widget has made it.
const PROOF: &str = "proof";

/// Shows the widget of a captcha of another service, whose check the flow has
/// ([`Builder::human`](password_reset::flow::Builder::human)), on the page that asks whose password
/// it is.
///
/// It is there while a proof is asked for, and not otherwise. Only the page that shows it loads the
/// service's script, under a policy ([`CONTENT_SECURITY_POLICY`](crate::CONTENT_SECURITY_POLICY))
/// that lets in what the service documents, and does without `require-trusted-types-for`, which the
/// services' scripts are not made for. The other pages load nothing from elsewhere.
///
/// The widget's script puts the proof into a field of its own, which the form takes for `proof`. A
/// form with both is refused, as one with any field twice is. In JSON the field is `proof`, always.
///
/// reCAPTCHA v3 and the invisible widgets have to be started by a script of your own; they need
/// pages of your own.
///
/// ```
/// use password_reset_web::{Builder, Widget, WidgetError};
///
/// fn with_widget(web: Builder) -> Result<Builder, WidgetError> {
///     Ok(web.captcha_widget(Widget::turnstile("1x00000000000000000000AA")?))
/// }
///
/// assert!(Widget::hcaptcha("10000000-ffff-ffff-ffff-000000000001").is_ok());
/// assert!(Widget::recaptcha("6LeIxAcT\"><script>").is_err());
/// ```
#[derive(Clone)]
pub struct Widget {
    service: &'static Service,
    site_key: Box<str>,
    action: Option<Box<str>>,
}

/// A widget cannot be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WidgetError {
    /// Not a site key: empty, too long, or with something else in it.
    #[error("a site key is 1 to {MAX_SITE_KEY_BYTES} ASCII letters, digits, - and _")]
    SiteKey,
    /// Not an action: empty, too long, or with something else in it.
    #[error("an action is 1 to {MAX_ACTION_BYTES} ASCII letters, digits, - and _")]
    Action,
}

/// What a service documents of its widget. Nothing in here is configured.
struct Service {
    script: &'static str,
    class: &'static str,
    /// The field that its script adds to the form.
    field: &'static str,
    /// A further field with the same proof, for programs that were written for another service.
    copy: Option<&'static str>,
    /// That of the other pages, and what the widget needs besides.
    policy: &'static str,
}

/// <https://developers.cloudflare.com/turnstile/reference/content-security-policy/>
static TURNSTILE: Service = Service {
    script: "https://challenges.cloudflare.com/turnstile/v0/api.js",
    class: "cf-turnstile",
    field: "cf-turnstile-response",
    copy: None,
    policy: "default-src 'none'; script-src 'self' https://challenges.cloudflare.com; \
         style-src 'self'; img-src 'self' data:; frame-src https://challenges.cloudflare.com; \
         form-action 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
};

/// <https://docs.hcaptcha.com/#content-security-policy-settings>
static HCAPTCHA: Service = Service {
    script: "https://js.hcaptcha.com/1/api.js",
    class: "h-captcha",
    field: "h-captcha-response",
    copy: Some("g-recaptcha-response"),
    policy: "default-src 'none'; script-src 'self' https://hcaptcha.com https://*.hcaptcha.com; \
         style-src 'self' https://hcaptcha.com https://*.hcaptcha.com; img-src 'self' data:; \
         connect-src https://hcaptcha.com https://*.hcaptcha.com; \
         frame-src https://hcaptcha.com https://*.hcaptcha.com; \
         form-action 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
};

/// <https://developers.google.com/recaptcha/docs/faq>, which leaves out that the script also sends
/// something to where it came from.
static RECAPTCHA: Service = Service {
    script: "https://www.google.com/recaptcha/api.js",
    class: "g-recaptcha",
    field: "g-recaptcha-response",
    copy: None,
    policy: "default-src 'none'; script-src 'self' https://www.google.com/recaptcha/ \
         https://www.gstatic.com/recaptcha/; style-src 'self'; img-src 'self' data:; \
         connect-src https://www.google.com/recaptcha/; \
         frame-src https://www.google.com/recaptcha/ https://recaptcha.google.com/recaptcha/; \
         form-action 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
};

impl Widget {
    /// Cloudflare Turnstile, for the check
    /// [`Turnstile`](https://docs.rs/password-reset-http/latest/password_reset_http/struct.Turnstile.html).
    ///
    /// # Errors
    ///
    /// [`WidgetError::SiteKey`].
    pub fn turnstile(site_key: &str) -> Result<Self, WidgetError> {
        Self::of(&TURNSTILE, site_key)
    }

    /// hCaptcha, for the check
    /// [`HCaptcha`](https://docs.rs/password-reset-http/latest/password_reset_http/struct.HCaptcha.html).
    ///
    /// # Errors
    ///
    /// [`WidgetError::SiteKey`].
    pub fn hcaptcha(site_key: &str) -> Result<Self, WidgetError> {
        Self::of(&HCAPTCHA, site_key)
    }

    /// The checkbox of reCAPTCHA v2, for the check
    /// [`Recaptcha::v2`](https://docs.rs/password-reset-http/latest/password_reset_http/struct.Recaptcha.html#method.v2).
    ///
    /// # Errors
    ///
    /// [`WidgetError::SiteKey`].
    pub fn recaptcha(site_key: &str) -> Result<Self, WidgetError> {
        Self::of(&RECAPTCHA, site_key)
    }

    /// Has the widget make proofs under this action (`data-action`). Turnstile's has actions; where
    /// its check expects one, it has to be the same.
    ///
    /// # Errors
    ///
    /// [`WidgetError::Action`].
    pub fn for_action(mut self, action: &str) -> Result<Self, WidgetError> {
        if !is_token(action, MAX_ACTION_BYTES) {
            return Err(WidgetError::Action);
        }
        self.action = Some(action.into());
        Ok(self)
    }

    /// The address of the service's script.
    pub fn script(&self) -> &'static str {
        self.service.script
    }

    /// The class of the element that the script fills. It has to be inside of the form.
    pub fn class(&self) -> &'static str {
        self.service.class
    }

    /// The value of its `data-sitekey`.
    pub fn site_key(&self) -> &str {
        &self.site_key
    }

    /// The value of its `data-action`, if it has one.
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// The policy of a page that shows it.
    pub(crate) fn policy(&self) -> &'static str {
        self.service.policy
    }

    /// What a field of the form is called by who reads it; `None` for one that is passed over.
    pub(crate) fn called<'a>(&self, field: Cow<'a, str>) -> Option<Cow<'a, str>> {
        if field == self.service.field {
            return Some(PROOF.into());
        }
        (self.service.copy != Some(&*field)).then_some(field)
    }

    fn of(service: &'static Service, site_key: &str) -> Result<Self, WidgetError> {
        if !is_token(site_key, MAX_SITE_KEY_BYTES) {
            return Err(WidgetError::SiteKey);
        }
        Ok(Self {
            service,
            site_key: site_key.into(),
            action: None,
        })
    }
}

/// The site key is on the page for everyone to read.
impl fmt::Debug for Widget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Widget")
            .field("class", &self.service.class)
            .field("site_key", &self.site_key)
            .field("action", &self.action)
            .finish()
    }
}

/// Nothing that HTML would read as something else.
fn is_token(text: &str, longest: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=longest).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::collections::BTreeMap;

    use super::*;
    use crate::CONTENT_SECURITY_POLICY;

    fn directives(policy: &str) -> BTreeMap<&str, Vec<&str>> {
        let directives = policy.split("; ").map(|directive| {
            let mut words = directive.split(' ');
            (words.next().unwrap_or_default(), words.collect())
        });
        directives.collect()
    }

    #[test]
    fn r80_a_widgets_policy_is_that_of_the_pages_and_the_services_own_places() {
        for service in [&TURNSTILE, &HCAPTCHA, &RECAPTCHA] {
            let mut widened = directives(service.policy);
            let mut pages = directives(CONTENT_SECURITY_POLICY);
            pages.remove("require-trusted-types-for").unwrap();
            for name in ["script-src", "style-src", "connect-src", "frame-src"] {
                let all = widened.remove(name).unwrap_or_default();
                let own = pages.remove(name).unwrap_or_default();
                assert_eq!(all.get(..own.len()), Some(&*own), "{name}");
                for place in all.iter().skip(own.len()) {
                    assert!(place.starts_with("https://"), "{place}");
                }
            }
            assert_eq!(widened, pages);
        }
    }
}
