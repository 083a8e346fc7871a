//! Reading forms: bounded, and not one field more than the page has.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::Form;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use password_reset::secrecy::SecretString;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use tokio::time::timeout;

use crate::problem::Problem;

const MAX_BYTES: usize = 16 * 1024;
/// What is read of a larger form and thrown away.
const MAX_WASTE: usize = 16 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// A form of at most 16 KiB.
///
/// Lists, repeated fields and fields that the page does not have are refused, if the form's type is
/// marked `deny_unknown_fields`: of two addresses nobody knows which one the next program would
/// have taken (W1, W24).
pub(crate) struct StrictForm<T>(pub(crate) T);

impl<S, T> FromRequest<S> for StrictForm<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = timeout(PATIENCE, read(body))
            .await
            .map_err(|_| Problem::Malformed)??;
        let request = Request::from_parts(parts, bytes.into());
        match Form::from_request(request, state).await {
            Ok(Form(form)) => Ok(Self(form)),
            Err(_) => Err(Problem::Malformed),
        }
    }
}

/// Reads to the end even what is too large, within reason: closing the connection on a client that
/// still sends would take the answer away from it.
async fn read(mut body: Body) -> Result<Vec<u8>, Problem> {
    let mut kept = Vec::new();
    let mut seen: usize = 0;
    while let Some(frame) = poll_fn(|task| Pin::new(&mut body).poll_frame(task)).await {
        let frame = frame.map_err(|_| Problem::Malformed)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        seen = seen.saturating_add(data.len());
        if seen > MAX_WASTE {
            return Err(Problem::TooLarge);
        }
        if seen <= MAX_BYTES {
            kept.extend_from_slice(&data);
        }
    }
    if seen > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    Ok(kept)
}

/// For fields that are passwords, so that nothing prints them.
pub(crate) fn secret<'de, D: Deserializer<'de>>(field: D) -> Result<SecretString, D::Error> {
    String::deserialize(field).map(SecretString::from)
}
