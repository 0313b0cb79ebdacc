//! Logs on standard error, and traces to an OpenTelemetry collector when one is named.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How the process reports on itself.
#[derive(Debug, Clone, Default)]
pub struct Reporting {
    /// What is logged, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// One JSON object a line.
    pub json: bool,
    /// The base address of an OTLP collector over HTTP; `/v1/traces` is added where it has no path.
    pub otlp_endpoint: Option<String>,
}

/// Others' layers that log each failed request of an edge cluster at ERROR: we log it once, where it is handled.
const NOISE: &str = "kube_client=off,tower=warn,hyper=warn,hyper_util=warn,h2=warn,rustls=warn,sqlx=warn,reqwest=warn,\
                     opentelemetry=warn,opentelemetry_sdk=warn";

/// Sends what is still buffered when it is dropped: keep it until the process ends.
#[derive(Debug)]
pub struct Guard(Option<SdkTracerProvider>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces could not be sent: {error}");
        }
    }
}

/// Why reporting can't start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not in the syntax of `RUST_LOG`.
    #[error("log filter `{0}` is not understood (for example: info,fleetlift=debug)")]
    Filter(String),
    /// The exporter refuses its endpoint.
    #[error("traces can't be exported to {endpoint}")]
    Exporter {
        /// The address that was set.
        endpoint: String,
        /// Why.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// A subscriber is there already.
    #[error("reporting was started twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging (and tracing, with an endpoint) for the whole process. Once.
pub fn start(reporting: &Reporting) -> Result<Guard, TelemetryError> {
    // Later directives win: what the user names beats our noise filter.
    let filter = EnvFilter::try_new(format!("{NOISE},{}", reporting.filter))
        .map_err(|_| TelemetryError::Filter(reporting.filter.clone()))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if reporting.json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).boxed()
    };
    let provider = reporting.otlp_endpoint.as_deref().map(traces_to).transpose()?;
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("fleetlift"))
            .with_filter(tracing_subscriber::filter::Targets::new().with_target("fleetlift", tracing::Level::DEBUG))
    });
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces).try_init()?;
    Ok(Guard(provider))
}

/// The batch processor works on a thread of its own: the exporter's client must be the blocking one.
fn traces_to(endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let base = endpoint.trim_end_matches('/');
    let url = if base.ends_with("/v1/traces") { base.to_owned() } else { format!("{base}/v1/traces") };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .build()
        .map_err(|source| TelemetryError::Exporter { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder().with_service_name("fleetlift").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
