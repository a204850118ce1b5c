//! Logs to standard error, metrics for `/metrics`.

use std::fmt;
use std::io::{BufWriter, stderr};

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Log, LogFormat};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Lines of the log that wait to be written at most, some 2 MB. What is logged beyond that is dropped, and counted.
const LINES_WAITING: usize = 8192;

/// What the log writes at once at most.
const WRITE_BYTES: usize = 64 * 1024;

/// The log, while it is kept. Dropped, it writes what still waits, if somebody takes it within a second.
#[must_use]
pub struct LogGuard {
    _writing: WorkerGuard,
    dropped: ErrorCounter,
}

/// Begins to log as `settings` say. Once a process. A thread of its own writes: whoever logs waits neither for another who does nor
/// for whoever reads the log, and a log that nobody reads any more stops nobody.
pub fn log(settings: &Log) -> LogGuard {
    // What agents write is not for the log; that crate logs methods and ids as they come.
    let filter = EnvFilter::new(format!("{},agent_client_protocol=off", settings.level.as_str()));
    let writer = NonBlockingBuilder::default().buffered_lines_limit(LINES_WAITING).lossy(true).thread_name("log");
    let (writer, writing) = writer.finish(BufWriter::with_capacity(WRITE_BYTES, stderr()));
    let guard = LogGuard { _writing: writing, dropped: writer.error_counter() };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_span_events(FmtSpan::NONE);
    match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&stderr())).init(),
    }
    guard
}

/// The collected metrics.
#[derive(Clone)]
pub struct Metrics {
    collected: PrometheusHandle,
    dropped_lines: ErrorCounter,
}

impl Metrics {
    /// All of them, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        metrics::counter!("agentapi_log_lines_dropped_total").absolute(self.dropped_lines.dropped_lines() as u64);
        self.run_upkeep();
        self.collected.render()
    }

    /// Sorts what was collected; whoever is not asked for metrics does so now and then.
    pub fn run_upkeep(&self) {
        self.collected.run_upkeep();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Begins to collect metrics, those of `log` among them. Once a process.
///
/// # Errors
/// If somebody else collects them already.
pub fn metrics(log: &LogGuard) -> Result<Metrics, BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS)?.install_recorder()?;
    describe_counter!("agentapi_http_requests_total", "Requests answered, by method, route and status");
    describe_histogram!("agentapi_http_request_seconds", "Time to answer a request, streams until their first byte");
    describe_counter!("agentapi_rate_limit_decisions_total", "Rate limit decisions, by outcome, by who decided, and by policy");
    describe_counter!("agentapi_session_checks_total", "Session checks, by result");
    describe_counter!("agentapi_api_key_checks_total", "Checks of API keys, by result");
    describe_counter!("agentapi_seals_total", "Tokens, records and secrets sealed, by key; a key may seal 2^32");
    describe_counter!("agentapi_password_verifications_total", "Passwords verified, those of unknown users too");
    describe_gauge!("agentapi_circuits_open", "Circuits that are not closed, as this server knows, by kind of service");
    describe_gauge!("agentapi_circuit_shared", "1 if circuits were shared when last asked for, 0 if the store was away");
    describe_counter!("agentapi_circuit_calls_total", "Calls to other services, by kind of service and outcome");
    describe_counter!("agentapi_circuit_transitions_total", "Changes of a circuit that this server saw, by kind and new state");
    describe_counter!("agentapi_circuit_probes_total", "Calls that tried whether a service is well again, by kind");
    describe_counter!("agentapi_circuit_store_errors_total", "Questions about circuits that the store did not answer");
    describe_counter!("agentapi_outbound_calls_total", "Calls to other services with all their attempts, by kind and outcome");
    describe_histogram!("agentapi_outbound_call_seconds", "Time to the head of an answer of another service, by kind");
    describe_counter!("agentapi_outbound_retries_total", "Calls to other services that were tried again, by kind");
    describe_gauge!("agentapi_agents_running", "Agents that live on this server");
    describe_gauge!("agentapi_event_streams", "Event streams being served");
    describe_counter!("agentapi_log_lines_dropped_total", "Lines of the log that were dropped: nobody took them in time");
    Ok(Metrics { collected: handle, dropped_lines: log.dropped.clone() })
}
