//! A log that nobody reads.

use std::io::Read;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::support::{Client, ServerBuilder, TestDatabase};

/// A request is answered within this, whoever reads the log or does not.
const SOON: Duration = Duration::from_secs(5);

/// Lines of 200 bytes that a pipe cannot hold.
const MORE_THAN_A_PIPE: usize = 1_000;
/// Lines that the server cannot hold either.
const MORE_THAN_THE_SERVER: usize = 9_000;

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nobody_and_what_is_dropped_is_counted() {
    let database = TestDatabase::create().await;
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let server = ServerBuilder::new(&database).start_with_log(writer.into()).await;
    let client = server.anonymous();

    ask(&client, MORE_THAN_A_PIPE).await;
    assert_eq!(dropped(&client).await, 0);
    ask(&client, MORE_THAN_THE_SERVER).await;
    let lost = dropped(&client).await;
    assert!(lost > 0);

    // Whoever reads again finds the rest, and the server stops in order.
    let reading = tokio::task::spawn_blocking(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).map(|_| log)
    });
    assert_eq!(server.terminate().await, Some(0));
    let log = reading.await.expect("no panic").expect("text");
    let answered = u64::try_from(log.lines().filter(|line| line.contains("unmatched")).count()).expect("few");
    let asked = u64::try_from(MORE_THAN_A_PIPE + MORE_THAN_THE_SERVER).expect("few");
    assert!((asked - lost..=asked).contains(&answered), "{answered} lines, {lost} dropped of {asked}");
    assert!(log.trim_end().ends_with("stopped"), "{}", log.lines().last().unwrap_or_default());
}

#[tokio::test]
async fn a_server_stops_although_nobody_reads_its_log() {
    let database = TestDatabase::create().await;
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let server = ServerBuilder::new(&database).start_with_log(writer.into()).await;
    ask(&server.anonymous(), MORE_THAN_A_PIPE).await;
    assert_eq!(server.terminate().await, Some(0));
}

/// So many requests, each of which is a line of the log.
async fn ask(client: &Client, requests: usize) {
    const TOGETHER: usize = 50;
    for _ in 0..requests / TOGETHER {
        let begun = Instant::now();
        for answer in join_all((0..TOGETHER).map(|_| client.get("/nowhere"))).await {
            assert_eq!(answer.problem(404), "not_found");
        }
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
}

async fn dropped(client: &Client) -> u64 {
    let metrics = client.get("/metrics").await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("agentapi_log_lines_dropped_total "));
    line.expect("a counter").parse().expect("a number")
}
