//! By which name a request comes.

use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// Answers only who asks for this machine by name. Without it a page of another site could point
/// its own name at 127.0.0.1 and read the answer ("DNS rebinding").
pub(crate) async fn refuse_other_hosts(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    // The port goes; the colons of an IPv6 address are inside its brackets.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let ip = name.trim_start_matches('[').trim_end_matches(']').parse();
    if name == "localhost" || ip.is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()) {
        next.run(request).await
    } else {
        Problem::NotFound.into_response()
    }
}
