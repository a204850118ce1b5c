//! Circuits in Redis: one script for whatever happens to one, one command to look at many.

use redis::{RedisResult, Value};

use super::script::CIRCUIT;
use super::{Key, Redis};
use crate::domain::{Service, StoreUnavailable};

/// What the script is told, as its header has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitCall {
    /// What happens.
    pub operation: &'static str,
    /// The generation that the caller last saw.
    pub seen: u64,
    /// Failures that open it.
    pub failure_threshold: u32,
    /// Successes that close it.
    pub success_threshold: u32,
    /// How long it is open first, in milliseconds.
    pub open_ms: u64,
    /// How much longer if it opens now, in thousandths.
    pub jitter: u32,
    /// How long its state is kept, in milliseconds.
    pub life_ms: u64,
    /// Most probes under way at once.
    pub max_probes: usize,
    /// What the operation needs beside.
    pub operands: [u64; 2],
}

/// What the script says, as its header has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitReply {
    /// Whether the caller may call.
    pub admitted: bool,
    /// 0 closed, 1 open, 2 half-open.
    pub phase: u8,
    /// The circuit's generation.
    pub generation: u64,
    /// Failures in a row.
    pub failures: u32,
    /// Successes of probes.
    pub successes: u32,
    /// Times that it opened in a row.
    pub opens: u32,
    /// Milliseconds until asking to probe may help.
    pub wait_ms: u64,
}

type Numbers = (u8, u8, u64, u32, u32, u32, u64);

impl From<Numbers> for CircuitReply {
    fn from((admitted, phase, generation, failures, successes, opens, wait_ms): Numbers) -> Self {
        Self { admitted: admitted == 1, phase, generation, failures, successes, opens, wait_ms }
    }
}

impl Redis {
    /// Lets something happen to the circuit of `service`.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; it may or may not have happened.
    pub async fn circuit(&self, service: Service, call: &CircuitCall) -> Result<CircuitReply, StoreUnavailable> {
        let mut script = CIRCUIT.prepare_invoke();
        script.key(Key::circuit(service)).key(Key::circuits());
        script.arg(call.operation).arg(call.seen).arg(call.failure_threshold).arg(call.success_threshold);
        script.arg(call.open_ms).arg(call.jitter).arg(call.life_ms).arg(call.max_probes).arg(service.to_string());
        script.arg(&call.operands);
        let numbers: Numbers = self.run(async |link| script.invoke_async(link).await).await?;
        Ok(numbers.into())
    }

    /// The circuits of `services` that Redis knows, as generation and failures, and whether they are closed: one command.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn circuit_values(&self, services: &[Service]) -> Result<Vec<Option<(bool, u64, u32)>>, StoreUnavailable> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(services.iter().map(|&service| Key::circuit(service)).collect::<Vec<_>>());
        let values: Vec<Option<String>> = self.run(async |link| command.query_async(link).await).await?;
        Ok(values.iter().map(|value| parse(value.as_deref()?)).collect())
    }

    /// Services whose circuit is not closed, by their texts, after `after`, at most `limit`. Some may have been forgotten since.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn circuits(&self, after: Option<Service>, limit: usize) -> Result<Vec<Service>, StoreUnavailable> {
        let mut command = redis::cmd("ZRANGEBYLEX");
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        command.arg(Key::circuits()).arg(from).arg("+").arg("LIMIT").arg(0).arg(limit);
        let texts: Vec<String> = self.run(async |link| command.query_async(link).await).await?;
        Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// Takes services off the list whose circuit is not closed.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn forget_circuits(&self, services: &[Service]) -> Result<(), StoreUnavailable> {
        if services.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("ZREM");
        command.arg(Key::circuits()).arg(services.iter().map(ToString::to_string).collect::<Vec<_>>());
        self.run(async |link| -> RedisResult<Value> { command.query_async(link).await }).await?;
        Ok(())
    }
}

fn parse(value: &str) -> Option<(bool, u64, u32)> {
    let mut parts = value.split(':');
    let closed = parts.next()? == "closed";
    Some((closed, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
