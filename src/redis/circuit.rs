//! Circuits in Redis: opaque values, replaced only if they are what the caller knows; one command to look at many.

use redis::{RedisResult, Value};

use super::script::CIRCUIT_SWAP;
use super::{Key, Redis};
use crate::domain::{Service, StoreUnavailable};

/// A new value of a circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitValue {
    /// The value.
    pub text: String,
    /// How long it is kept, in milliseconds.
    pub life_ms: u64,
    /// What becomes of the service on the list of those whose circuit is not closed.
    pub listing: Listing,
}

/// Whether a service is put on the list of those whose circuit is not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// It is put on the list.
    Add,
    /// It is taken off.
    Remove,
    /// The list stays as it is.
    Keep,
}

/// What came of an attempt to replace a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// The value was as expected, and was replaced if there was a new one.
    Done,
    /// Another value is there, or none.
    Found(Option<String>),
}

impl Redis {
    /// Redis' time in milliseconds since 1970: a round trip only where it is not known.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn time_ms(&self) -> Result<u64, StoreUnavailable> {
        Ok(self.run(async |link| self.time(link).await).await? / 1000)
    }

    /// Replaces the value of the circuit of `service` by `new` if it is `expected`; without `new`, only looks whether it is.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; it may or may not have been replaced.
    pub async fn swap_circuit(
        &self,
        service: Service,
        expected: Option<&str>,
        new: Option<&CircuitValue>,
    ) -> Result<Swapped, StoreUnavailable> {
        let mut call = CIRCUIT_SWAP.prepare_invoke();
        call.key(Key::circuit(service)).key(Key::circuits());
        let listing = match new.map(|new| new.listing) {
            Some(Listing::Add) => "1",
            Some(Listing::Remove) => "0",
            Some(Listing::Keep) | None => "",
        };
        call.arg(expected.unwrap_or_default()).arg(new.map_or("", |new| new.text.as_str()));
        call.arg(new.map_or(0, |new| new.life_ms.max(1))).arg(service.to_string()).arg(listing);
        let (is_done, found): (bool, String) = self.run(async |link| call.invoke_async(link).await).await?;
        Ok(if is_done { Swapped::Done } else { Swapped::Found(Some(found).filter(|found| !found.is_empty())) })
    }

    /// The values of the circuits of `services`: one command.
    ///
    /// # Errors
    /// [`StoreUnavailable`].
    pub async fn circuit_values(&self, services: &[Service]) -> Result<Vec<Option<String>>, StoreUnavailable> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(services.iter().map(|&service| Key::circuit(service)).collect::<Vec<_>>());
        self.run(async |link| command.query_async(link).await).await
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
