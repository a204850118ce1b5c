//! Reading an event stream.

use std::time::Duration;

use serde_json::Value;

use super::PATIENCE;

/// Longest that an event is waited for while others come: an agent that works tells of itself all the time.
const AMONG_OTHERS: Duration = Duration::from_secs(60);

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// What a client sends as `Last-Event-ID` to go on after it.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A stream of events.
pub(crate) struct EventStream {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl EventStream {
    pub(crate) async fn open(request: reqwest::RequestBuilder) -> Self {
        // Streams go on for as long as somebody reads: the deadline is on each event instead.
        let response = request.timeout(Duration::from_secs(600)).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: Vec::new() }
    }

    /// The next event; nothing once the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("an event in time")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let text = String::from_utf8(block).expect("UTF-8");
                let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                // A comment, or how long to wait before connecting again.
                let Some(data) = field("data:") else { continue };
                let data = serde_json::from_str(data).expect("JSON");
                let id = field("id:").unwrap_or_default().to_owned();
                return Some(Event { id, name: field("event:").expect("a name").to_owned(), data });
            }
            // One that breaks has ended.
            self.buffer.extend(self.response.chunk().await.ok()??);
        }
    }

    /// All events up to and including the first that `last` holds for.
    pub(crate) async fn until(&mut self, what: &str, last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        let deadline = tokio::time::Instant::now() + AMONG_OTHERS;
        loop {
            let Ok(event) = tokio::time::timeout_at(deadline, self.next()).await else {
                panic!("{what} did not come within {AMONG_OTHERS:?} among {} events, the last {:?}", events.len(), events.last());
            };
            let event = event.unwrap_or_else(|| panic!("the stream ended before {what}: {events:?}"));
            events.push(event.clone());
            if last(&event) {
                return events;
            }
        }
    }
}
