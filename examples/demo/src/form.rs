//! Reading forms: bounded, and not one field more than the page has.

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use password_reset::secrecy::SecretString;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use crate::problem::Problem;

/// A form, no longer than the router's `DefaultBodyLimit`.
///
/// Lists, repeated fields and fields that the page does not have are refused, if the form's type is
/// marked `deny_unknown_fields`: of two addresses nobody knows which one the next program would
/// have taken (W24).
pub(crate) struct StrictForm<T>(pub(crate) T);

impl<S, T> FromRequest<S> for StrictForm<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let refused = |refused: FormRejection| match refused.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge,
            _ => Problem::Malformed,
        };
        let Form(form) = Form::from_request(request, state).await.map_err(refused)?;
        Ok(Self(form))
    }
}

/// For fields that are passwords, so that nothing prints them.
pub(crate) fn secret<'de, D: Deserializer<'de>>(field: D) -> Result<SecretString, D::Error> {
    String::deserialize(field).map(SecretString::from)
}
