//! Servers that stop while they forward streams, or while their agents take long to end.

use reqwest::Method;

use super::{Fleet, is_stable};
use crate::support::{EventStream, eventually};

/// Part of the log of a server that did not end everything in time.
const CUT_OFF: &str = "cut off";

/// Writes all the time.
const LOUD: &str =
    "for n in $(seq 1 100000); do echo \"at $n\"; sleep 0.01; done & while read -rp '> ' line; do echo \"b said $line\"; done";

/// The rest of a stream, as it came.
async fn rest(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.expect("the stream ends in order") {
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn forwarded_streams_end_when_the_server_stops() {
    let (fleet, [a, b, c]) = Fleet::started().await;
    let client = a.operator().await;
    let agent = client.at(&b).start_agent(&["bash", "-c", LOUD]).await;
    let at_c = client.at(&c);
    let mut streams = Vec::new();
    for path in ["events", "internal/screen"] {
        let request = at_c.request(Method::GET, &format!("{agent}/{path}")).timeout(std::time::Duration::from_secs(600));
        let mut response = request.send().await.expect("an answer");
        assert!(response.chunk().await.expect("a stream").is_some());
        streams.push(rest(response));
    }
    let (texts, code) = tokio::join!(futures_util::future::join_all(streams), c.terminate());
    assert_eq!(code, Some(0));
    for text in texts {
        assert!(text.is_empty() || text.ends_with("\n\n"), "the last event is whole: {text:?}");
    }
    let log = fleet.builders[2].logged();
    assert!(!log.contains(CUT_OFF), "{log}");
    // Clients connect again elsewhere.
    let mut events = client.events(&agent).await;
    assert!(events.next().await.is_some());
}

#[tokio::test]
async fn slow_shutdown_is_not_taken_for_a_failure() {
    let (fleet, [a, b, c]) = Fleet::started().await;
    let client = a.operator().await;
    // Ignores signals, so that stopping it takes several times as long as the heartbeat timeout.
    let stubborn = "trap '' HUP INT TERM; while :; do read -rp '> ' line || sleep 0.1; done";
    let agent = client.at(&b).start_agent(&["bash", "-c", stubborn]).await;
    client.at(&b).stable(&agent).await;
    let mut events = EventStream::open(client.at(&c).request(Method::GET, &format!("{agent}/events"))).await;
    events.until("the snapshot", is_stable).await;
    assert_eq!(b.terminate().await, Some(0));
    while events.next().await.is_some() {}
    eventually("it is deregistered", || async { (fleet.members().await.len() == 2).then_some(()) }).await;
    assert_eq!(client.get(&agent).await.ok()["state"], "stopped");
    for place in [0, 2] {
        let log = fleet.builders[place].logged();
        assert!(!log.contains("a server died"), "{log}");
    }
}
