//! How fast a remote agent is listened to.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes a second that are taken; some times what coder/agentapi sends at its busiest. What is more waits at its sender.
const BYTES_PER_SECOND: usize = 8 * 1024 * 1024;

/// Counts what came within a second.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }
}

impl Pace {
    /// How long to listen to nothing, after so many bytes.
    pub(super) fn wait(&mut self, bytes: usize) -> Duration {
        let second = Duration::from_secs(1);
        if self.since.elapsed() >= second {
            *self = Self::default();
        }
        self.bytes += bytes;
        if self.bytes <= BYTES_PER_SECOND { Duration::ZERO } else { second.saturating_sub(self.since.elapsed()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_taken_at_its_pace() {
        let (mut pace, start, mut bytes) = (Pace::default(), Instant::now(), 0);
        while bytes < 10 * BYTES_PER_SECOND {
            bytes += 64 * 1024;
            tokio::time::sleep(pace.wait(64 * 1024)).await;
        }
        assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&start.elapsed()), "{:?}", start.elapsed());
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(pace.wait(BYTES_PER_SECOND), Duration::ZERO);
    }
}
