use MessageRole::{Agent, User};

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 123_456_789).unwrap()
}

fn update(id: i64, role: MessageRole, content: &str, second: i64) -> Update {
    Update { id, role, content: content.into(), time: Some(at(second)) }
}

/// A first conversation: a greeting, a question, an answer.
fn first() -> [Update; 3] {
    [update(0, Agent, "> ", 1), update(1, User, "hi", 2), update(2, Agent, "hello", 3)]
}

fn hear(mirror: &mut Mirror, updates: impl IntoIterator<Item = Update>) -> Vec<(i64, String)> {
    updates.into_iter().flat_map(|update| mirror.hear(update)).map(|message| (message.id, message.content.to_string())).collect()
}

fn told(pairs: &[(i64, &str)]) -> Vec<(i64, String)> {
    pairs.iter().map(|(id, content)| (*id, (*content).to_owned())).collect()
}

fn all(mirror: &Mirror) -> Vec<(i64, String)> {
    mirror.messages.values().map(|message| (message.id, message.content.to_string())).collect()
}

fn mirror() -> Mirror {
    let mut mirror = Mirror::new(&[]);
    assert_eq!(hear(&mut mirror, first()), told(&[(0, "> "), (1, "hi"), (2, "hello")]));
    mirror
}

#[test]
fn what_is_replayed_is_not_told_again() {
    let mut mirror = mirror();
    mirror.connected();
    assert_eq!(hear(&mut mirror, first()), []);
    // From Postgres, its times cut to microseconds.
    let history: Vec<Message> = mirror
        .messages
        .values()
        .map(|m| Message { time: DateTime::from_timestamp_micros(m.time.timestamp_micros()).unwrap(), ..m.clone() })
        .collect();
    let mut again = Mirror::new(&history);
    again.connected();
    assert_eq!(hear(&mut again, first()), []);
    // The same where a server tells no times.
    again.connected();
    assert_eq!(hear(&mut again, first().map(|update| Update { time: None, ..update })), []);
}

#[test]
fn what_came_while_we_were_away_is_told_once() {
    let mut mirror = mirror();
    mirror.connected();
    let mut now = first().to_vec();
    now[2] = update(2, Agent, "hello there", 4);
    now.extend([update(3, User, "bye", 5), update(4, Agent, "", 6)]);
    assert_eq!(hear(&mut mirror, now.clone()), told(&[(2, "hello there"), (3, "bye"), (4, "")]));
    assert_eq!(hear(&mut mirror, [update(4, Agent, "bye", 7)]), told(&[(4, "bye")]));
    mirror.connected();
    now[4] = update(4, Agent, "bye", 7);
    assert_eq!(hear(&mut mirror, now), []);
}

#[test]
fn another_conversation_is_put_behind_the_one_before_even_if_it_says_the_same() {
    let mut mirror = mirror();
    mirror.connected();
    // A start screen may still be replaced by a restored conversation.
    assert_eq!(hear(&mut mirror, [update(0, Agent, "> ", 10), update(0, Agent, "> ", 11)]), []);
    assert!(mirror.holds_back());
    assert_eq!(hear(&mut mirror, [update(1, User, "hi", 12)]), told(&[(3, "> "), (4, "hi")]));
    assert_eq!(hear(&mut mirror, [update(2, Agent, "hello", 13)]), told(&[(5, "hello")]));
    assert_eq!(all(&mirror), told(&[(0, "> "), (1, "hi"), (2, "hello"), (3, "> "), (4, "hi"), (5, "hello")]));
    // Which goes on, over connections and over restarts of ours.
    let replay = [update(0, Agent, "> ", 11), update(1, User, "hi", 12), update(2, Agent, "hello", 13)];
    mirror.connected();
    assert_eq!(hear(&mut mirror, replay.clone()), []);
    let history: Vec<Message> = mirror.messages.values().cloned().collect();
    let mut after_a_restart = Mirror::new(&history);
    after_a_restart.connected();
    assert_eq!(hear(&mut after_a_restart, replay.clone()), []);
    assert_eq!(hear(&mut after_a_restart, [update(3, User, "more", 14)]), told(&[(6, "more")]));
    assert_eq!(hear(&mut mirror, [update(3, User, "more", 14)]), told(&[(6, "more")]));
}

#[test]
fn another_conversation_is_known_by_its_first_difference_though_it_began_alike() {
    let mut mirror = Mirror::new(&[]);
    let untimed = |id, role, content: &str| Update { time: None, ..update(id, role, content, 0) };
    hear(&mut mirror, [untimed(0, Agent, "> "), untimed(1, User, "hi"), untimed(2, Agent, "hello")]);
    mirror.connected();
    assert_eq!(hear(&mut mirror, [untimed(0, Agent, "> ")]), []);
    assert_eq!(hear(&mut mirror, [untimed(1, User, "bye")]), told(&[(3, "> "), (4, "bye")]));
}

#[test]
fn a_restored_conversation_goes_on() {
    let mut mirror = mirror();
    mirror.connected();
    assert_eq!(hear(&mut mirror, [update(0, Agent, "starting", 10)]), []);
    assert_eq!(hear(&mut mirror, first()), []);
    assert!(!mirror.holds_back());
    assert_eq!(hear(&mut mirror, [update(3, User, "more", 11)]), told(&[(3, "more")]));
}

#[test]
fn a_start_screen_alone_is_replaced() {
    let mut mirror = Mirror::new(&[]);
    hear(&mut mirror, [update(0, Agent, "one", 1)]);
    mirror.connected();
    assert_eq!(hear(&mut mirror, [update(0, Agent, "two", 2)]), told(&[(0, "two")]));
}

#[test]
fn an_earlier_message_may_change_while_we_listen() {
    let mut mirror = mirror();
    assert_eq!(hear(&mut mirror, [update(1, User, "hi!", 9)]), told(&[(1, "hi!")]));
    // Ids may have gaps, and go on behind them.
    assert_eq!(
        hear(&mut mirror, [update(9, User, "later", 10), update(5, Agent, "between", 11)]),
        told(&[(9, "later"), (5, "between")])
    );
}

#[test]
fn what_is_kept_is_bounded_and_ids_that_cannot_be_are_not_believed() {
    let mut mirror = mirror();
    assert_eq!(
        hear(&mut mirror, [update(-1, User, "x", 1), update(i64::MAX, User, "x", 1), update(MAX_ID + 1, User, "x", 1)]),
        []
    );
    let large = "x".repeat(1024 * 1024);
    for id in 3..100 {
        mirror.hear(update(id, Agent, &large, id));
    }
    assert!(mirror.bytes <= MAX_BYTES && mirror.messages.len() < 40);
    assert_eq!(mirror.bytes, mirror.messages.values().map(|message| message.content.len()).sum::<usize>());
    let mut mirror = Mirror::new(&[]);
    for round in 0..2 {
        mirror.connected();
        for id in 0..MAX_ID.min(20_000) {
            mirror.hear(update(id, User, "x", id + 1 + round * 100_000));
        }
    }
    assert_eq!(mirror.messages.len(), MAX_MESSAGES);
    // What is kept can still change.
    assert_eq!(hear(&mut mirror, [update(MAX_ID, User, "more", 1)]), []);
}

#[test]
fn wherever_a_restored_conversation_is_recognised_what_comes_after_it_is_kept() {
    let mut mirror = mirror();
    mirror.connected();
    // Its first screen is not as it was; the rest is.
    hear(&mut mirror, [update(0, Agent, "other", 10)]);
    let [_, question, answer] = first();
    assert_eq!(hear(&mut mirror, [question, answer]), []);
    assert_eq!(hear(&mut mirror, [update(3, User, "more", 11)]), told(&[(3, "more")]));
    // And then it begins anew.
    mirror.connected();
    assert_eq!(hear(&mut mirror, [update(0, Agent, "> ", 20), update(1, User, "hi", 21)]), told(&[(4, "> "), (5, "hi")]));
    // One that counts from 1, and then from 0.
    let mut mirror = Mirror::new(&[]);
    hear(&mut mirror, [update(1, Agent, "> ", 1), update(2, User, "hi", 2)]);
    mirror.connected();
    assert_eq!(
        hear(&mut mirror, [update(0, Agent, "> ", 3), update(1, User, "hi", 4)]),
        told(&[(0, "> "), (3, "> "), (4, "hi")])
    );
}
