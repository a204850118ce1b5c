//! What the lists of hosts and of origins have in common.

/// Checks what holds for each list; says what is wrong in the words of coder/agentapi. A list with `*` is not looked at further.
pub(super) fn check(items: &[String]) -> Result<(), String> {
    if items.is_empty() {
        return Err("the list must not be empty".to_owned());
    }
    if items.iter().any(|item| item == "*") {
        return Ok(());
    }
    if let Some(item) = items.iter().find(|item| item.contains(char::is_whitespace)) {
        return Err(format!("'{item}' contains whitespace characters, which are not allowed"));
    }
    match items.iter().find(|item| item.contains(',')) {
        Some(item) => Err(format!("'{item}' contains comma characters, which are not allowed")),
        None => Ok(()),
    }
}
