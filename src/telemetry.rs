//! Logs to standard error, metrics for `/metrics`.

use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Log, LogFormat};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];

/// Begins to log as `settings` say. Once a process.
pub fn log(settings: &Log) {
    // What agents write is not for the log; that crate logs methods and ids as they come.
    let filter = EnvFilter::new(format!("{},agent_client_protocol=off", settings.level.as_str()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_span_events(FmtSpan::NONE);
    match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
    }
}

/// Begins to collect metrics. Once a process.
///
/// # Errors
/// If somebody else collects them already.
pub fn metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS)?.install_recorder()?;
    describe_counter!("agentapi_http_requests_total", "Requests answered, by method, route and status");
    describe_histogram!("agentapi_http_request_seconds", "Time to answer a request, streams until their first byte");
    describe_counter!("agentapi_rate_limit_decisions_total", "Rate limit decisions, by outcome, by who decided, and by policy");
    describe_counter!("agentapi_session_checks_total", "Session checks, by result");
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
    Ok(handle)
}
