//! Files that an agent has read and written for it.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::{operator, say, start};

#[tokio::test]
async fn an_agent_reads_and_writes_files_of_its_workspace_and_no_others() {
    let (builder, _server, client) = operator().await;
    let agent = start(&client, "plain", json!({})).await;
    let work = say(&client, &agent, "where").await;
    let secret = builder.data_dir().join("secret");
    std::fs::write(&secret, "secret").expect("written");
    assert_eq!(say(&client, &agent, &format!("write {work}/a/b.txt hello there")).await, "ok");
    assert_eq!(say(&client, &agent, &format!("read {work}/a/b.txt")).await, "hello there");
    let other = start(&client, "plain", json!({})).await;
    let outside = "refused: the path is not in the agent's workspace";
    assert_eq!(say(&client, &other, &format!("read {work}/a/b.txt")).await, outside, "another agent's file");
    symlink(&secret, format!("{work}/link")).expect("linked");
    symlink(builder.data_dir(), format!("{work}/folder")).expect("linked");
    for path in [
        secret.display().to_string(),
        format!("{work}/../../../../../secret"),
        format!("{work}/link"),
        format!("{work}/folder/secret"),
        "/etc/passwd".to_owned(),
    ] {
        assert_eq!(say(&client, &agent, &format!("read {path}")).await, outside, "{path}");
        assert_eq!(say(&client, &agent, &format!("write {path} gotcha")).await, outside, "{path}");
    }
    assert_eq!(std::fs::read_to_string(secret).expect("read"), "secret");
    assert_eq!(say(&client, &agent, &format!("read {work}/none")).await, "refused: there is no such file");
    assert!(say(&client, &agent, "unknown fs/delete").await.starts_with("refused"));
}
