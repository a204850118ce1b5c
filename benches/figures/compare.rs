//! Requests a second, beside each other: bursts in turn, round by round, so that what disturbs a round disturbs all alike.

use std::time::Duration;

use super::load::{Outcome, Target};
use super::report::{P50, P99, Table, millis, quantile, thousands};
use super::{Effort, Failure};

const CONNECTIONS: [usize; 2] = [1, 64];

/// What is compared, the first with all others; named as the table names it.
pub(crate) type Named = Vec<(&'static str, Target)>;

/// What came of the rounds, by connections, then by target.
pub(crate) struct Comparison {
    named: Vec<&'static str>,
    rounds: usize,
    burst: Duration,
    outcomes: [Vec<Vec<Outcome>>; CONNECTIONS.len()],
}

/// Measures all of `named` in rounds. `beside` is done once a round.
pub(crate) async fn compare(
    what: &str,
    effort: Effort,
    named: Named,
    mut beside: impl FnMut() -> Result<(), Failure>,
) -> Result<Comparison, Failure> {
    let (rounds, burst) = effort.choose((5, Duration::from_secs(2)), (2, Duration::from_secs(1)));
    let mut outcomes = CONNECTIONS.map(|_| vec![Vec::new(); named.len()]);
    for round in 1..=rounds {
        effort.tell(&format!("{what}: round {round} of {rounds}"));
        for (connections, outcomes) in CONNECTIONS.iter().zip(&mut outcomes) {
            for ((_, target), outcomes) in named.iter().zip(outcomes) {
                outcomes.push(target.burst(*connections, burst).await?);
            }
        }
        beside()?;
    }
    let named = named.into_iter().map(|(name, _)| name).collect();
    Ok(Comparison { named, rounds, burst, outcomes })
}

impl Comparison {
    /// The table of it, with a note about the rounds.
    pub(crate) fn table(&self, title: &'static str) -> Table {
        let columns = ["request", "connections", "requests/s", "of the first", "rounds", "p50", "p99", "server CPU each"];
        let mut table = Table::new(title, &columns);
        for (place, connections) in CONNECTIONS.iter().enumerate() {
            for (target, name) in self.named.iter().enumerate() {
                let (rates, sum) = (self.rates(place, target), self.sum(place, target));
                table.row(&[
                    name,
                    &connections.to_string(),
                    &thousands(median(rates.clone())),
                    &format!("{:.0} %", 100.0 * self.share(place, target, 0)),
                    &spread(&rates),
                    &millis(quantile(&sum.latencies, P50)),
                    &millis(quantile(&sum.latencies, P99)),
                    &format!("{:.0} µs", sum.cpu_per_request().as_secs_f64() * 1e6),
                ]);
            }
        }
        table.note(format!(
            "{} rounds, in each a burst of {} s of every row in turn. “requests/s” and “of the first” row's are medians of the rounds, \
             “rounds” is the slowest and the fastest of them.",
            self.rounds,
            self.burst.as_secs()
        ));
        table
    }

    /// Of another target's rate, with many connections.
    pub(crate) fn share_of_many(&self, target: usize, of: usize) -> f64 {
        self.share(CONNECTIONS.len() - 1, target, of)
    }

    /// Requests a second with many connections.
    pub(crate) fn rate_of_many(&self, target: usize) -> f64 {
        median(self.rates(CONNECTIONS.len() - 1, target))
    }

    /// The median latency over one connection.
    pub(crate) fn latency_of_one(&self, target: usize) -> Duration {
        quantile(&self.sum(0, target).latencies, P50)
    }

    fn share(&self, place: usize, target: usize, of: usize) -> f64 {
        let (rates, others) = (self.rates(place, target), self.rates(place, of));
        median(rates.iter().zip(&others).map(|(rate, other)| rate / other).collect())
    }

    fn rates(&self, place: usize, target: usize) -> Vec<f64> {
        self.outcomes[place][target].iter().map(Outcome::per_second).collect()
    }

    /// All bursts together, their latencies sorted.
    fn sum(&self, place: usize, target: usize) -> Outcome {
        let mut sum = Outcome::default();
        for outcome in &self.outcomes[place][target] {
            sum.add(outcome.clone());
        }
        sum.latencies.sort_unstable();
        sum
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The slowest and the fastest.
fn spread(rates: &[f64]) -> String {
    let (slowest, fastest) = rates.iter().fold((f64::MAX, 0.0_f64), |(low, high), &rate| (low.min(rate), high.max(rate)));
    format!("{}–{}", thousands(slowest), thousands(fastest))
}
