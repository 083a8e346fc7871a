//! For axum 0.8: [`router`].

use std::net::SocketAddr;

use ::axum::Router;
use ::axum::body::Body;
use ::axum::extract::{ConnectInfo, Request};
use ::axum::response::Response;
use ::axum::routing::any;
use http_body_util::BodyExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::body::Collected;
use crate::problem::Problem;
use crate::service::ResetWeb;

/// The pages as a router, to be merged into the application's own.
///
/// The client's address comes from `into_make_service_with_connect_info::<SocketAddr>()`. Without
/// it, all clients share one bucket.
///
/// ```no_run
/// use std::net::SocketAddr;
/// use password_reset::ResetFlow;
/// use password_reset_web::{ResetWeb, axum::router};
///
/// # async fn example(flow: ResetFlow, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// let web = ResetWeb::builder(flow).login("/log-in").build()?;
/// let app = app.merge(router(web));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
/// # Ok(()) }
/// ```
///
/// Merge it rather than nest it. Where it must be nested, as below `/account` with the link base
/// `https://app.example.com/account/reset-password`, say so, and send password managers on
/// yourself: they look at the root. (A link base of `https://app.example.com/account/` does not
/// work then: axum answers "not found" there.)
///
/// ```
/// use axum::{Router, response::Redirect, routing::get};
/// use password_reset::ResetFlow;
/// use password_reset_web::{CHANGE_PASSWORD, Paths, ResetWeb, axum::router};
///
/// fn nested(flow: ResetFlow, app: Router) -> Result<Router, Box<dyn std::error::Error>> {
///     let paths = Paths::of(flow.site().base()).stripped("/account")?;
///     let web = ResetWeb::builder(flow).paths(paths.clone()).build()?;
///     let to_ask = get(async move || Redirect::temporary(paths.ask()));
///     Ok(app.nest("/account", router(web)).route(CHANGE_PASSWORD, to_ask))
/// }
/// ```
pub fn router<S>(web: ResetWeb) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let mut router = Router::new();
    for path in web.paths().arriving() {
        let web = web.clone();
        router = router.route(&path, any(async move |request| handle(web, request).await));
    }
    router
}

async fn handle(web: ResetWeb, request: Request) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(address)| address.ip());
    let (parts, body) = request.into_parts();
    let body = match timeout(web.body_timeout(), read(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(problem)) => return web.refuse(&parts, &problem).map(Body::from),
        Err(_) => return web.refuse(&parts, &Problem::Timeout).map(Body::from),
    };
    // On a task of its own: when the client hangs up, the change is not cut in the middle.
    let answering = {
        let (web, request) = (web.clone(), http::Request::from_parts(parts.clone(), body));
        async move { web.respond(request, peer).await }
    };
    match tokio::spawn(answering).await {
        Ok(response) => response.map(Body::from),
        Err(_) => web.after_panic(&parts).map(Body::from),
    }
}

async fn read(mut body: Body) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut collected = Collected::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::Malformed)?;
        if let Ok(piece) = frame.into_data() {
            collected.push(&piece)?;
        }
    }
    collected.finish()
}
