//! What happened, for whoever runs the demo. An application puts this behind its operators' login.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use password_reset::ResetFlow;
use password_reset::audit::{AuditLog, MetricsSink};
use password_reset::clock::{Clock, SystemClock};
use password_reset_web::{Activity, InvalidPath, MAX_BODY_BYTES, ResetWeb};

use crate::origin;

const PATH: &str = "/dev/activity";

/// The page, and what it reads; and the numbers for Prometheus.
#[derive(Clone)]
pub(crate) struct View {
    activity: Activity,
    flow: ResetFlow,
    log: Arc<dyn AuditLog>,
    metrics: PrometheusHandle,
}

/// Counts from here on. A scrape reads them under `/dev/metrics`.
pub(crate) fn metrics() -> Result<PrometheusHandle, BuildError> {
    let (seconds, attempts) = ("_seconds".to_owned(), "_attempts".to_owned());
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix(seconds), MetricsSink::SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix(attempts), MetricsSink::ATTEMPTS)?
        .install_recorder()?;
    MetricsSink::describe();
    // What was measured is put into its buckets, also while nobody scrapes.
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(metrics)
}

impl View {
    pub(crate) fn new(
        web: &ResetWeb,
        flow: ResetFlow,
        log: impl AuditLog,
        metrics: PrometheusHandle,
    ) -> Result<Self, InvalidPath> {
        Ok(Self {
            activity: Activity::new(web, PATH)?,
            flow,
            log: Arc::new(log),
            metrics,
        })
    }
}

/// On a loopback address only, for requests that name this machine, as with the mailbox.
pub(crate) fn router(view: View) -> Router {
    Router::new()
        .route(PATH, get(page).post(find))
        .route("/dev/metrics", get(scrape))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(origin::refuse_other_hosts))
        .with_state(view)
}

async fn page(State(view): State<View>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let page = view.activity.page(&view.log, &query, SystemClock.now());
    page.await.map(Body::from)
}

async fn find(State(view): State<View>, body: Bytes) -> Response {
    view.activity.find(&view.flow, &body).map(Body::from)
}

/// An application shows this to its scraper only, on a port of its own.
async fn scrape(State(view): State<View>) -> String {
    view.metrics.render()
}
