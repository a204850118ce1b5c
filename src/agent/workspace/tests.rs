use std::os::unix::fs::symlink;

use super::*;

fn workspace(data: &Path) -> Workspace {
    Workspace::of(data, TenantId::new(), AgentId::new()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_workspace_is_private_and_can_be_removed() {
    let data = tempfile::tempdir().unwrap();
    let workspace = workspace(data.path());
    workspace.create(AgentType::Claude, None).await.unwrap();
    let mut path = workspace.work();
    while path != data.path() {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
        path.pop();
    }
    assert_eq!(mode(&workspace.home()), 0o700);
    workspace.remove().await.unwrap();
    assert!(!workspace.root.exists());
    workspace.remove().await.unwrap();
}

#[tokio::test]
async fn a_new_home_is_filled_from_the_template_of_its_kind() {
    let data = tempfile::tempdir().unwrap();
    let template = data.path().join("template");
    fs::create_dir_all(template.join("claude/.config")).unwrap();
    fs::create_dir_all(template.join("codex")).unwrap();
    fs::write(template.join("codex/other"), "").unwrap();
    fs::write(template.join("claude/.claude.json"), r#"{"@WORKSPACE@":{"also":"@WORKSPACE@"}}"#).unwrap();
    fs::write(template.join("claude/.config/binary"), b"\xff@WORKSPACE@").unwrap();
    fs::write(template.join("claude/run"), "#!/bin/sh").unwrap();
    fs::set_permissions(template.join("claude/run"), fs::Permissions::from_mode(0o755)).unwrap();
    let large = "@WORKSPACE@".repeat(100_000);
    fs::write(template.join("claude/large"), &large).unwrap();
    symlink("/etc/passwd", template.join("claude/link")).unwrap();
    symlink("/etc", template.join("claude/folder")).unwrap();

    let workspace = workspace(data.path());
    workspace.create(AgentType::Claude, Some(&template)).await.unwrap();
    let home = workspace.home();
    let work = workspace.work().display().to_string();
    let settings = fs::read_to_string(home.join(".claude.json")).unwrap();
    assert_eq!(settings, format!(r#"{{"{work}":{{"also":"{work}"}}}}"#));
    assert_eq!(fs::read(home.join(".config/binary")).unwrap(), b"\xff@WORKSPACE@");
    assert_eq!(fs::read_to_string(home.join("large")).unwrap(), large);
    assert_eq!((mode(&home.join("run")), mode(&home.join(".claude.json")), mode(&home.join(".config"))), (0o700, 0o600, 0o700));
    for absent in ["link", "folder", "other"] {
        assert!(fs::symlink_metadata(home.join(absent)).is_err(), "{absent}");
    }

    fs::write(home.join("run"), "changed").unwrap();
    workspace.create(AgentType::Claude, Some(&template)).await.unwrap();
    assert_eq!(fs::read_to_string(home.join("run")).unwrap(), "changed", "a home that exists is the agent's own");
}

#[tokio::test]
async fn a_template_without_bounds_is_refused_and_leaves_no_half_filled_home() {
    let data = tempfile::tempdir().unwrap();
    let template = data.path().join("template");
    let mut deep = template.join("claude");
    for _ in 0..40 {
        deep.push("d");
    }
    fs::create_dir_all(deep).unwrap();
    let workspace = workspace(data.path());
    assert!(workspace.create(AgentType::Claude, Some(&template)).await.is_err());
    assert!(!workspace.home().exists());
    workspace.create(AgentType::Codex, Some(&template)).await.unwrap();
    assert!(workspace.home().exists(), "a kind without a folder gets an empty home");
}
