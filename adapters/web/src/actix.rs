//! For actix-web 4: [`configure`], and [`headers`] and [`add_page_headers`] for the
//! application's own pages.

use ::actix_web::http::StatusCode;
use ::actix_web::http::header::{
    HeaderMap as ActixHeaders, HeaderName as ActixName, HeaderValue as ActixValue,
};
use ::actix_web::web::{Payload, ServiceConfig, resource, to};
use ::actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::runtime::Handle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::body::Collected;
use crate::problem::Problem;
use crate::service::ResetWeb;

/// The pages as services, for `App::configure`. Inside a scope, the pages need
/// [`Paths::stripped`](crate::Paths::stripped) with the scope's path.
///
/// Call it outside of the closure that makes the `App`. Each of actix's workers has a runtime of its
/// own, which ends with the server and takes along what is on it: a change whose client has hung
/// up, connections to a database. Requests are answered on the runtime that this was called on.
///
/// ```no_run
/// use actix_web::{App, HttpServer};
/// use password_reset::ResetFlow;
/// use password_reset_web::{ResetWeb, actix::configure};
///
/// # async fn example(flow: ResetFlow) -> Result<(), Box<dyn std::error::Error>> {
/// let pages = configure(ResetWeb::builder(flow).login("/log-in").build()?);
/// HttpServer::new(move || App::new().configure(pages.clone()))
///     .bind("127.0.0.1:3000")?
///     .run()
///     .await?;
/// # Ok(()) }
/// ```
pub fn configure(web: ResetWeb) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let runtime = Handle::try_current().ok();
    move |config| {
        for path in web.paths().arriving() {
            let (web, runtime, arriving) = (web.clone(), runtime.clone(), path.clone());
            let handler = move |request: HttpRequest, body: Payload| {
                let (web, runtime) = (web.clone(), runtime.clone());
                let parts = parts(&request, &arriving);
                async move { handle(web, runtime, request, parts, body).await }
            };
            config.service(resource(path).route(to(handler)));
        }
    }
}

/// A request's header lines as [`ResetWeb`] takes them, for its
/// [`is_own_origin`](ResetWeb::is_own_origin), [`client`](ResetWeb::client) and
/// [`language`](ResetWeb::language). (actix-web has an older version of the same type.)
pub fn headers(headers: &ActixHeaders) -> HeaderMap {
    let mut converted = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        // A name that cannot be converted is none that anybody looks for.
        let Ok(name) = HeaderName::from_bytes(name.as_str().as_bytes()) else {
            continue;
        };
        // A value is never left out: a request without `Origin` is let in.
        let value = HeaderValue::from_bytes(value.as_bytes());
        let value = value.unwrap_or(HeaderValue::from_static("unreadable"));
        converted.append(name, value);
    }
    converted
}

/// [`add_page_headers`](crate::add_page_headers) for an answer of actix-web: the header lines of
/// every page, in place of what was there.
pub fn add_page_headers(headers: &mut ActixHeaders, https: bool) {
    let mut lines = HeaderMap::new();
    crate::add_page_headers(&mut lines, https);
    for (name, value) in &lines {
        if let Some((name, value)) = line(name, value) {
            headers.insert(name, value);
        }
    }
}

async fn handle(
    web: ResetWeb,
    runtime: Option<Handle>,
    request: HttpRequest,
    parts: Option<Parts>,
    body: Payload,
) -> HttpResponse {
    let peer = request.peer_addr().map(|address| address.ip());
    let Some(parts) = parts else {
        return HttpResponse::BadRequest().finish();
    };
    let body = match timeout(web.body_timeout(), read(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(problem)) => return answer(web.refuse(&parts, &problem)),
        Err(_) => return answer(web.refuse(&parts, &Problem::Timeout)),
    };
    // On a task of its own: when the client hangs up, the change is not cut in the middle.
    let answering = {
        let (web, request) = (web.clone(), http::Request::from_parts(parts.clone(), body));
        async move { web.respond(request, peer).await }
    };
    let runtime = runtime.unwrap_or_else(Handle::current);
    match runtime.spawn(answering).await {
        Ok(response) => answer(response),
        Err(_) => answer(web.after_panic(&parts)),
    }
}

async fn read(mut body: Payload) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut collected = Collected::default();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Problem::Malformed)?;
        collected.push(&piece)?;
    }
    collected.finish()
}

/// Inside a scope actix-web shows the whole path, of which the page's own is the end.
fn parts(request: &HttpRequest, arriving: &str) -> Option<Parts> {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = Method::from_bytes(request.method().as_str().as_bytes()).ok()?;
    let uri = request.uri();
    // Else it is another spelling, which actix decoded before it compared: not found, as elsewhere.
    let path = match uri.path().ends_with(arriving) {
        true => arriving,
        false => uri.path(),
    };
    parts.uri = match uri.query() {
        Some(query) => Uri::try_from(format!("{path}?{query}")).ok()?,
        None => Uri::try_from(path).ok()?,
    };
    parts.headers = headers(request.headers());
    Some(parts)
}

fn answer(response: http::Response<bytes::Bytes>) -> HttpResponse {
    let (parts, body) = response.into_parts();
    let status = StatusCode::from_u16(parts.status.as_u16());
    let mut answer = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in &parts.headers {
        if let Some(line) = line(name, value) {
            answer.append_header(line);
        }
    }
    answer.body(body)
}

fn line(name: &HeaderName, value: &HeaderValue) -> Option<(ActixName, ActixValue)> {
    let name = ActixName::from_bytes(name.as_str().as_bytes()).ok()?;
    let mut line = ActixValue::from_bytes(value.as_bytes()).ok()?;
    // Nobody who prints the answer prints the token.
    line.set_sensitive(value.is_sensitive());
    Some((name, line))
}
