use chrono::Utc;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::domain::{Fence, MessageRole};

fn message(id: i64, content: u32, event: EventId) -> Message {
    let time = Utc::now();
    Message { id, role: MessageRole::Agent, content: content.to_string().into(), time, event }
}

/// What a watcher knows who takes `told`, in that order, into what it knows already.
fn take(known: &mut (Vec<(i64, String)>, Option<AgentStatus>), told: &Told) {
    match &told.event {
        AgentEvent::StatusChange(status) => known.1 = Some(*status),
        AgentEvent::MessageUpdate(message) => {
            known.0.retain(|(id, _)| *id != message.id);
            known.0.push((message.id, message.content.to_string()));
            known.0.sort();
        }
    }
}

/// Whatever is changed in whatever order, whoever is cut off after any event and resumes there ends up knowing everything.
#[test]
fn who_resumes_after_any_event_lacks_nothing() {
    let mut rng = StdRng::seed_from_u64(11);
    for _ in 0..300 {
        let mut event = EventId::before(Fence::FIRST).next();
        let projection = Projection::new(Vec::new(), AgentStatus::Running, event);
        let mut watchers = vec![(Default::default(), None)];
        for step in 0..30 {
            event = event.next();
            match rng.random_range(0..4) {
                0 => projection.tell_status(*[AgentStatus::Running, AgentStatus::Stable].choose(&mut rng).unwrap(), event),
                _ => projection.tell_message(message(rng.random_range(0..6), step, event)),
            }
            // Everybody takes a part of what is told, and is cut off.
            for (known, seen) in &mut watchers {
                let state = projection.read();
                let told = match seen {
                    Some(seen) => state.since(*seen),
                    None => state.snapshot(),
                };
                let part = rng.random_range(0..=told.len());
                for told in told.into_iter().take(part) {
                    assert!(seen.is_none_or(|seen| told.id >= seen), "ids go on");
                    take(known, &told);
                    *seen = Some(told.id);
                }
            }
            watchers.push((Default::default(), None));
        }
        let state = projection.read();
        let mut whole = (Vec::new(), None);
        for told in &state.snapshot() {
            take(&mut whole, told);
        }
        for (mut known, seen) in watchers {
            let told = seen.map_or_else(|| state.snapshot(), |seen| state.since(seen));
            for told in &told {
                take(&mut known, told);
            }
            assert_eq!(known, whole);
        }
        // The same of what is left once it has ended.
        for seen in Told::again(&state.messages, None).iter().map(|told| told.id) {
            let (mut known, mut left): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
            for told in Told::again(&state.messages, None).iter().take_while(|told| told.id <= seen) {
                known.push(told.event.clone());
            }
            left.extend(Told::again(&state.messages, Some(seen)).into_iter().map(|told| told.event));
            let all = [known, left].concat();
            assert!(Told::again(&state.messages, None).iter().all(|told| all.contains(&told.event)));
        }
    }
}
