//! Leases: who lives, as long as it says so.

use std::time::Duration;

use redis::Value;

use super::operations::millis;
use super::{Key, Redis};
use crate::domain::StoreUnavailable;

impl Redis {
    /// Lets the lease `own` last for `life` from now. Returns for each of `others` whether it lasts. One round trip.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; the lease may or may not have been renewed.
    pub async fn renew_lease(&self, own: Key, life: Duration, others: &[Key]) -> Result<Vec<bool>, StoreUnavailable> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(&own).arg(1).arg("PX").arg(millis(life)).ignore();
        // Upstash bills by the command, however many keys it names.
        if others.is_empty() {
            self.run(async |link| pipeline.query_async::<()>(link).await).await?;
            return Ok(Vec::new());
        }
        pipeline.cmd("MGET").arg(others);
        let (leases,): (Vec<Value>,) = self.run(async |link| pipeline.query_async(link).await).await?;
        Ok(leases.iter().map(|lease| *lease != Value::Nil).collect())
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// [`StoreUnavailable`]; then it runs out.
    pub async fn end_lease(&self, own: Key) -> Result<(), StoreUnavailable> {
        self.run(async |link| redis::cmd("DEL").arg(&own).query_async(link).await).await
    }
}
