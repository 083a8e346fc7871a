//! Codes: asking for one, and typing it.

use http::{HeaderMap, StatusCode};
use password_reset::account::{Client, Identifier};
use password_reset::flow::CodeError;
use password_reset::human::Proof;
use password_reset::queue::Channel;
use password_reset::secrecy::ExposeSecret;
use password_reset::token::CodeHandle;

use crate::answer::Answer;
use crate::body::{CodeForm, CodeJson, Format, Way};
use crate::page::Page;
use crate::problem::Problem;
use crate::service::{ResetWeb, Visitor};

impl ResetWeb {
    /// Takes a request for a code. Everybody gets a handle, random and as long as any other.
    pub(crate) async fn ask_code(
        &self,
        identifier: Option<Identifier>,
        proof: Option<&Proof>,
        way: Way,
        visitor: &Visitor,
    ) -> Result<Answer, Problem> {
        let flow = &self.shared.flow;
        let channel = match way {
            Way::Sms => Channel::Sms,
            _ => Channel::Mail,
        };
        let client = &visitor.client;
        let accepted = match identifier {
            Some(identifier) => {
                flow.request_code_with_proof(&identifier, channel, proof, client)
                    .await?
            }
            // What cannot be an identifier belongs to nobody, and nobody gets a handle too.
            None => flow.request_code_unreadable(channel, proof, client).await?,
        };
        let handle = accepted.handle;
        Ok(if visitor.json {
            Answer::json(
                StatusCode::ACCEPTED,
                &[("status", "accepted"), ("handle", &handle.to_string())],
            )
        } else {
            let cookie = self
                .shared
                .code_handoff
                .keep_handle(&handle, self.code_life());
            Answer::see_other(&self.paths().code()).cookie(&cookie)
        })
    }

    /// The form for the code, for whoever has asked for one. Nothing is looked at.
    pub(crate) fn type_code(
        &self,
        headers: &HeaderMap,
        visitor: &Visitor,
    ) -> Result<Answer, Problem> {
        match self.shared.code_handoff.handle(headers) {
            Some(_) => Ok(self.code_page(StatusCode::OK, false, visitor)),
            // Not back to where it was asked for: who lets in no cookies would go in circles, and
            // nobody would say why.
            None => Err(Problem::CodeMissing),
        }
    }

    /// Exchanges a right code for a token, which goes where that of a link goes: into the cookie.
    pub(crate) async fn redeem(
        &self,
        format: Format,
        headers: &HeaderMap,
        body: &[u8],
        visitor: &Visitor,
    ) -> Result<Answer, Problem> {
        let shared = &*self.shared;
        if format == Format::Json {
            let json: CodeJson = format.parse(body)?;
            let token = self
                .exchange(&json.handle, json.code.expose_secret(), &visitor.client)
                .await?;
            return Ok(Answer::json(
                StatusCode::OK,
                &[("status", "proven"), ("token", token.token.expose())],
            ));
        }
        let form: CodeForm = format.parse(body)?;
        let handle = shared.code_handoff.handle(headers);
        let handle = handle
            .as_ref()
            .map(CodeHandle::to_string)
            .unwrap_or_default();
        match self
            .exchange(&handle, form.code.expose_secret(), &visitor.client)
            .await
        {
            Ok(redeemed) => {
                let life = shared.flow.grant_life();
                let cookie = shared.handoff.keep(redeemed.token.expose(), life);
                let cookie = cookie.ok_or(Problem::Unavailable)?;
                Ok(Answer::see_other(self.paths().choose())
                    .cookie(&cookie)
                    .cookie(&shared.code_handoff.forget()))
            }
            Err(Problem::CodeInvalid) if !visitor.json => {
                let status = Problem::CodeInvalid.status();
                Ok(self.code_page(status, true, visitor))
            }
            Err(problem) => Err(problem),
        }
    }

    async fn exchange(
        &self,
        handle: &str,
        code: &str,
        client: &Client,
    ) -> Result<password_reset::flow::Redeemed, Problem> {
        let redeemed = self.shared.flow.redeem_code(handle, code, client).await;
        redeemed.map_err(|error| match error {
            CodeError::Invalid => Problem::CodeInvalid,
            CodeError::RateLimited { retry_after } => Problem::RateLimited { retry_after },
            CodeError::Busy => Problem::Busy,
            _ => Problem::Unavailable,
        })
    }

    fn code_page(&self, status: StatusCode, wrong: bool, visitor: &Visitor) -> Answer {
        self.page(status, Page::Code { wrong }, visitor.language)
    }

    fn code_life(&self) -> std::time::Duration {
        let codes = self.shared.flow.codes();
        codes.map(|codes| codes.life).unwrap_or_default()
    }
}
