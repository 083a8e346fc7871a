//! The second factor, between the link and the new password (R67).

use http::{HeaderMap, HeaderValue, StatusCode};
use password_reset::flow::{Verified, VerifyError};
use password_reset::recovery::{FactorResponse, StepUpProof};
use password_reset::secrecy::{ExposeSecret, SecretString};

use crate::answer::Answer;
use crate::body::{FactorForm, FactorJson, Format};
use crate::handoff;
use crate::page::{Factor, Page};
use crate::problem::Problem;
use crate::service::{Owner, ResetWeb, Visitor};

impl ResetWeb {
    /// The token that this browser holds since it opened a link or typed a code: for the
    /// application's own page for the second factor ([`Builder::factor_page`]), which verifies it and
    /// calls [`Verified::begin_step_up`]. One that is found is not good yet.
    ///
    /// [`Builder::factor_page`]: crate::Builder::factor_page
    pub fn opened_token(&self, headers: &HeaderMap) -> Option<SecretString> {
        let token = self.shared.handoff.token(headers)?;
        Some(SecretString::from(token.as_str()))
    }

    /// The `Set-Cookie` line that carries a proof of the second factor back to these pages; answer it
    /// with a redirect to [`Paths::choose`](crate::Paths::choose).
    pub fn proof_cookie(&self, proof: &StepUpProof) -> HeaderValue {
        let cookie = self.cookie_of(proof);
        // A proof is base64url, so the line is always a header's value.
        let mut cookie =
            HeaderValue::from_str(&cookie).unwrap_or_else(|_| HeaderValue::from_static(""));
        cookie.set_sensitive(true);
        cookie
    }

    fn cookie_of(&self, proof: &StepUpProof) -> String {
        let life = self.shared.flow.grant_life();
        self.shared.proof_handoff.keep_proof(proof, life)
    }

    /// With the proof that this browser holds, if it holds one.
    pub(crate) fn with_proof(&self, verified: Verified, headers: &HeaderMap) -> Verified {
        match self.shared.proof_handoff.token(headers) {
            Some(proof) => verified.with_proof(&proof),
            None => verified,
        }
    }

    /// Where the second factor is proven, for whoever needs one: a form of ours, a page of the
    /// application's, or nowhere.
    pub(crate) fn ask_for_factor(&self, token: &str, owner: &Owner, visitor: &Visitor) -> Answer {
        let (shared, usable) = (&*self.shared, owner.usable_factor);
        match &shared.factor_page {
            Some(page) if usable => Answer::see_other(page),
            None if usable && shared.flow.checks_second_factors() => {
                self.factor_form(token, owner, false, visitor)
            }
            _ => self.problem(&Problem::StepUp, visitor),
        }
    }

    fn factor_form(&self, token: &str, owner: &Owner, wrong: bool, visitor: &Visitor) -> Answer {
        let page = Page::Factor(Factor {
            account: owner.masked.as_deref(),
            form: &handoff::seal(token),
            wrong,
        });
        let status = match wrong {
            false => StatusCode::OK,
            true => Problem::FactorWrong.status(),
        };
        self.page(status, page, owner.language.unwrap_or(visitor.language))
    }

    /// Takes what was typed. The proof goes where the token is: into a cookie, or to the program.
    pub(crate) async fn prove_factor(
        &self,
        format: Format,
        headers: &HeaderMap,
        body: &[u8],
        visitor: &Visitor,
    ) -> Result<Answer, Problem> {
        if format == Format::Json {
            let json: FactorJson = format.parse(body)?;
            let verified = self.verified(json.token.expose_secret(), visitor).await?;
            let proof = check(&verified, &json.response).await?;
            return Ok(Answer::json(
                StatusCode::OK,
                &[("status", "proven"), ("proof", proof.expose())],
            ));
        }
        let form: FactorForm = format.parse(body)?;
        let token = self.shared.handoff.token(headers);
        let token = token.ok_or(Problem::LinkMissing)?;
        if !handoff::is_sealed(&token, &form.form) {
            return Err(Problem::OtherLink);
        }
        let verified = match self.verified(&token, visitor).await {
            Ok(verified) => verified,
            Err(error) => return Ok(self.ended(error.into(), visitor)),
        };
        match check(&verified, &form.response).await {
            Ok(proof) => {
                let choose = Answer::see_other(self.paths().choose());
                Ok(choose.cookie(&self.cookie_of(&proof)))
            }
            Err(Problem::FactorWrong) if !visitor.json => {
                Ok(self.factor_form(&token, &Owner::of(&verified), true, visitor))
            }
            Err(problem) => Ok(self.ended(problem, visitor)),
        }
    }

    async fn verified(&self, token: &str, visitor: &Visitor) -> Result<Verified, VerifyError> {
        self.shared.flow.verify(token, &visitor.client).await
    }
}

async fn check(verified: &Verified, typed: &SecretString) -> Result<StepUpProof, Problem> {
    // What cannot be an answer is a wrong one; only what is compared is counted.
    let response = FactorResponse::parse(typed.expose_secret());
    let response = response.map_err(|_| Problem::FactorWrong)?;
    Ok(verified.prove_factor(&response).await?)
}
