//! "This wasn't me", over HTTP: a link that shows a button, and a button that cancels.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, StatusCode};
use password_reset::flow::CancelError;
use password_reset::secrecy::ExposeSecret;
use password_reset::text::Language;

use crate::answer::Answer;
use crate::body::{CancelForm, CancelJson, Format, token_of_query};
use crate::handoff;
use crate::page::{Cancel, Page};
use crate::problem::Problem;
use crate::service::{ResetWeb, Visitor};

const HOUR: Duration = Duration::from_secs(3_600);

impl ResetWeb {
    /// Shows the button, and cancels nothing: mail scanners open this link too (W36). The token goes
    /// out of the address and into a cookie of its own, as that of the other link does (R81).
    pub(crate) async fn open_cancel(
        &self,
        request: &Parts,
        visitor: &Visitor,
    ) -> Result<Answer, Problem> {
        let shared = &*self.shared;
        if let Some(token) = token_of_query(request.uri.query().unwrap_or_default()) {
            let cookie = shared.cancel_handoff.keep(&token, shared.flow.link_life());
            let Some(cookie) = cookie else {
                return Ok(self.dead_cancel(&Problem::Invalid, visitor));
            };
            return Ok(Answer::see_other(shared.paths.cancel()).cookie(&cookie));
        }
        let Some(token) = shared.cancel_handoff.token(&request.headers) else {
            return Ok(self.dead_cancel(&Problem::LinkMissing, visitor));
        };
        match shared.flow.look_at_cancel(&token, &visitor.client).await {
            Ok(cancelable) => {
                let page = Page::Cancel(Cancel {
                    form: &handoff::seal(&token),
                    pause: shared.cancel_pause,
                });
                let own = cancelable.locale().and_then(Language::of_tag);
                Ok(self.page(StatusCode::OK, page, own.unwrap_or(visitor.language)))
            }
            Err(error) => Ok(self.ended_cancel(error.into(), visitor)),
        }
    }

    /// The button.
    pub(crate) async fn cancel(
        &self,
        format: Format,
        headers: &HeaderMap,
        body: &[u8],
        visitor: &Visitor,
    ) -> Result<Answer, Problem> {
        let shared = &*self.shared;
        if format == Format::Json {
            let json: CancelJson = format.parse(body)?;
            let pause = match json.pause_hours {
                Some(hours) => HOUR.saturating_mul(hours.into()),
                None => shared.cancel_pause,
            };
            self.disown(json.token.expose_secret(), pause, visitor)
                .await?;
            return Ok(self.cancelled(visitor));
        }
        let form: CancelForm = format.parse(body)?;
        let Some(token) = shared.cancel_handoff.token(headers) else {
            return Ok(self.dead_cancel(&Problem::LinkMissing, visitor));
        };
        if !handoff::is_sealed(&token, &form.form) {
            return Err(Problem::OtherLink);
        }
        match self.disown(&token, shared.cancel_pause, visitor).await {
            Ok(()) => Ok(self
                .cancelled(visitor)
                .cookie(&shared.cancel_handoff.forget())),
            Err(problem) => Ok(self.ended_cancel(problem, visitor)),
        }
    }

    async fn disown(&self, token: &str, pause: Duration, visitor: &Visitor) -> Result<(), Problem> {
        let looked = self.shared.flow.look_at_cancel(token, &visitor.client);
        match looked.await?.cancel(pause).await {
            Ok(_) => Ok(()),
            // One step failed, and the others were done.
            Err(CancelError::Unavailable(_)) => Err(Problem::Unfinished),
            Err(error) => Err(error.into()),
        }
    }

    fn cancelled(&self, visitor: &Visitor) -> Answer {
        if visitor.json {
            Answer::status(StatusCode::OK, "cancelled")
        } else {
            Answer::see_other(&self.paths().cancelled())
        }
    }

    /// A problem with a link; where the link is dead, its cookie goes too.
    fn ended_cancel(&self, problem: Problem, visitor: &Visitor) -> Answer {
        let answer = self.dead_cancel(&problem, visitor);
        match problem {
            Problem::Invalid => answer.cookie(&self.shared.cancel_handoff.forget()),
            _ => answer,
        }
    }

    /// A dead link here is one of a victim's too, whose password somebody else has changed: "ask for
    /// a new link" is no help then, people are.
    fn dead_cancel(&self, problem: &Problem, visitor: &Visitor) -> Answer {
        match problem {
            Problem::Invalid | Problem::LinkMissing if !visitor.json => {
                let page = Page::DeadCancel(problem);
                self.page(problem.status(), page, visitor.language)
            }
            _ => self.problem(problem, visitor),
        }
    }
}
