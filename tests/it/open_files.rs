//! More connections than the soft limit of open files lets a process have.

use crate::support::{ServerBuilder, TestDatabase};

/// Fewer than a server with as many viewers as below needs.
const LIMIT: u32 = 64;
const VIEWERS: usize = 100;

#[tokio::test]
async fn a_server_takes_as_many_files_as_it_may_have_and_agents_get_what_it_was_given() {
    let database = TestDatabase::create().await;
    let server = ServerBuilder::new(&database).open_files(LIMIT).start().await;
    let client = server.operator().await;
    let agent = client.start_agent(&["bash", "-c", "read -r _; ulimit -S -n; ulimit -H -n; cat"]).await;
    client.stable(&agent).await;

    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        viewers.push(client.events(&agent).await);
    }
    client.say(&agent, "how many?").await;
    for viewer in &mut viewers {
        viewer.until("the limit", |event| event.data["message"].as_str().is_some_and(|text| text.contains("64"))).await;
    }
    let said = client.conversation(&agent).await;
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let hard = hard.map_or("unlimited".to_owned(), |limit| limit.to_string());
    assert_eq!(said.last().expect("an answer").1.lines().map(str::trim).collect::<Vec<_>>(), ["64", &hard]);
}
