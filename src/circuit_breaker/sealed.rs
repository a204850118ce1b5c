//! A circuit as Redis keeps it: text, with a message authentication code.
//!
//! `c2.<base64url(code)>.<phase>:<generation>:<failures>:<successes>:<opens>:<until>:<ends>:<written>:<lease>=<end>,…`, times in
//! milliseconds since 1970 by the clock of Redis. The code covers the service too, so that one circuit cannot be given another's value.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::machine::MAX_PROBES;
use super::{Circuit, Lease, Phase};
use crate::domain::{KeyRing, Mac, MacPurpose, Service};

const VERSION: &str = "c2";

/// Longest text that is looked at: a value is shorter.
const MAX_CHARS: usize = 1024;

/// A circuit, and when it was written: later than the value that it replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) circuit: Circuit,
    pub(super) at: u64,
}

impl Written {
    /// Returns the value that Redis keeps.
    pub(super) fn seal(&self, keys: &KeyRing, service: Service) -> String {
        let Circuit { phase, generation, failures, successes, opens, until, leases, ends } = &self.circuit;
        let leases: Vec<String> = leases.iter().map(|(lease, end)| format!("{lease}={end}")).collect();
        let (phase, at, leases) = (phase.as_str(), self.at, leases.join(","));
        let body = format!("{phase}:{generation}:{failures}:{successes}:{opens}:{until}:{ends}:{at}:{leases}");
        let mac = keys.mac(MacPurpose::Circuit, &covered(service, &body));
        format!("{VERSION}.{}.{body}", URL_SAFE_NO_PAD.encode(mac.as_bytes()))
    }

    /// Reads a value; nothing if no server with one of `keys` wrote it for this service.
    pub(super) fn open(keys: &KeyRing, service: Service, text: &str) -> Option<Self> {
        let text = (text.len() <= MAX_CHARS).then_some(text)?;
        let (mac, body) = text.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
        let mac = Mac::from_bytes(&URL_SAFE_NO_PAD.decode(mac).ok()?)?;
        if !keys.is_authentic(MacPurpose::Circuit, &covered(service, body), &mac) {
            return None;
        }
        let parts: Vec<&str> = body.split(':').collect();
        let &[phase, generation, failures, successes, opens, until, ends, at, leases] = parts.as_slice() else { return None };
        let leases: Vec<(Lease, u64)> = leases.split(',').filter(|lease| !lease.is_empty()).map(lease).collect::<Option<_>>()?;
        let circuit = Circuit {
            phase: [Phase::Closed, Phase::Open, Phase::HalfOpen].into_iter().find(|known| known.as_str() == phase)?,
            generation: generation.parse().ok()?,
            failures: failures.parse().ok()?,
            successes: successes.parse().ok()?,
            opens: opens.parse().ok()?,
            until: until.parse().ok()?,
            leases: (leases.len() <= MAX_PROBES).then_some(leases)?,
            ends: ends.parse().ok()?,
        };
        Some(Self { circuit, at: at.parse().ok()? })
    }
}

fn lease(text: &str) -> Option<(Lease, u64)> {
    let (lease, end) = text.split_once('=')?;
    Some((lease.parse().ok()?, end.parse().ok()?))
}

/// What the code covers. A service's text holds no line feed.
fn covered(service: Service, body: &str) -> Vec<u8> {
    format!("circuit {VERSION}\n{service}\n{body}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AgentId;

    fn written() -> Written {
        let leases = vec![(u64::MAX, 1_795_000_000_123), (7, u64::MAX)];
        let circuit = Circuit { phase: Phase::HalfOpen, failures: 3, successes: 1, opens: 2, leases, ..Circuit::new(9) };
        Written { circuit, at: 1_795_000_000_000 }
    }

    #[test]
    fn value_is_read_as_it_was_written() {
        let (keys, service, mut written) = (KeyRing::new(&[7; 32]), Service::Agent(AgentId::new()), written());
        assert_eq!(Written::open(&keys, service, &written.seal(&keys, service)), Some(written.clone()));
        written.circuit = Circuit { until: 5, ends: 6, ..Circuit::new(0) };
        assert_eq!(Written::open(&keys, service, &written.seal(&keys, service)), Some(written.clone()), "without probes");
        written.circuit.leases = (0..).map(|lease| (u64::MAX - lease, u64::MAX)).take(MAX_PROBES).collect();
        let longest = written.seal(&keys, service);
        assert!(Written::open(&keys, service, &longest).is_some(), "{} characters", longest.len());
    }

    #[test]
    fn value_of_another_service_or_key_or_changed_is_not_authentic() {
        let (keys, service) = (KeyRing::new(&[7; 32]), Service::Agent(AgentId::new()));
        let text = written().seal(&keys, service);
        assert_eq!(Written::open(&keys, Service::Agent(AgentId::new()), &text), None, "another service");
        assert_eq!(Written::open(&KeyRing::new(&[8; 32]), service, &text), None, "another key");
        let rotated = KeyRing::with_others(&[8; 32], [&[7; 32]]).expect("two keys");
        assert!(Written::open(&rotated, service, &text).is_some(), "a previous key");
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'1' { b'2' } else { b'1' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(Written::open(&keys, service, &changed), None, "{changed}");
        }
        for text in ["", "c2..", "open:5:0:0:1:3600000:3600000:", &format!("{text}{}", ",".repeat(MAX_CHARS))] {
            assert_eq!(Written::open(&keys, service, text), None, "{text}");
        }
    }
}
