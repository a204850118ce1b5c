//! A queue with a line for each key, which take turns: a pure state machine.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Lets a number of holders run at once and others wait. Waiters are served in the order of their line, and the lines in turn: a long line
/// delays the others by one turn.
#[derive(Debug)]
pub(super) struct FairQueue<K, T> {
    running: usize,
    max_running: usize,
    waiting: usize,
    max_waiting: usize,
    lines: HashMap<K, VecDeque<(u64, T)>>,
    /// Keys of the lines, the next one first. No line is empty.
    order: VecDeque<K>,
    next_id: u64,
}

/// The answer to an attempt to enter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered<T> {
    /// It runs at once.
    Runs,
    /// It waits under this id, in place of `displaced` if there was no room: the last one of the longest line.
    Waits {
        /// For [`FairQueue::leave`].
        id: u64,
        /// Waits no more.
        displaced: Option<T>,
    },
    /// There is no room, and no line longer than its own.
    Full,
}

impl<K: Eq + Hash + Copy, T> FairQueue<K, T> {
    pub(super) fn new(max_running: usize, max_waiting: usize) -> Self {
        Self { running: 0, max_running, waiting: 0, max_waiting, lines: HashMap::new(), order: VecDeque::new(), next_id: 0 }
    }

    /// Returns the number of waiters.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Starts one that runs, or adds `waiter` to the line of `key`.
    pub(super) fn enter(&mut self, key: K, waiter: T) -> Entered<T> {
        if self.running < self.max_running {
            self.running += 1;
            return Entered::Runs;
        }
        let displaced = if self.waiting < self.max_waiting {
            None
        } else {
            let own = self.lines.get(&key).map_or(0, VecDeque::len);
            let longest = self.lines.iter().max_by_key(|(_, line)| line.len());
            match longest {
                // The newcomer's line is shorter afterwards, not only another one that is too long.
                Some((&longest, line)) if line.len() > own + 1 => self.remove(longest, line.len() - 1),
                _ => return Entered::Full,
            }
        };
        let id = self.next_id;
        self.next_id += 1;
        let line = self.lines.entry(key).or_default();
        if line.is_empty() {
            self.order.push_back(key);
        }
        line.push_back((id, waiter));
        self.waiting += 1;
        Entered::Waits { id, displaced }
    }

    /// Removes a waiter from the line of `key`, if it still waits.
    pub(super) fn leave(&mut self, key: K, id: u64) {
        let place = self.lines.get(&key).and_then(|line| line.iter().position(|(other, _)| *other == id));
        if let Some(place) = place {
            self.remove(key, place);
        }
    }

    /// Ends one that runs. Returns the waiter that runs in its place.
    pub(super) fn finish(&mut self) -> Option<T> {
        let Some(key) = self.order.front().copied() else {
            self.running -= 1;
            return None;
        };
        let next = self.remove(key, 0);
        // The line, if there is more of it, is the last one now.
        if self.order.front() == Some(&key) {
            self.order.rotate_left(1);
        }
        next
    }

    fn remove(&mut self, key: K, place: usize) -> Option<T> {
        let line = self.lines.get_mut(&key)?;
        let (_, waiter) = line.remove(place)?;
        self.waiting -= 1;
        if line.is_empty() {
            self.lines.remove(&key);
            self.order.retain(|other| *other != key);
        }
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that runs, and these that wait, in this order.
    fn queue(max_waiting: usize, waiting: &[(char, u32)]) -> FairQueue<char, u32> {
        let mut queue = FairQueue::new(1, max_waiting);
        assert_eq!(queue.enter('x', 0), Entered::Runs);
        for &(key, waiter) in waiting {
            assert!(matches!(queue.enter(key, waiter), Entered::Waits { displaced: None, .. }));
        }
        queue
    }

    fn rest(mut queue: FairQueue<char, u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.finish()).collect()
    }

    #[test]
    fn lines_take_turns() {
        let queue = queue(10, &[('a', 1), ('a', 2), ('a', 3), ('b', 4), ('c', 5), ('b', 6)]);
        assert_eq!(rest(queue), [1, 4, 5, 2, 6, 3]);
    }

    #[test]
    fn newcomer_takes_the_place_of_the_longest_lines_last() {
        let mut queue = queue(3, &[('a', 1), ('a', 2), ('a', 3)]);
        assert_eq!(queue.enter('a', 4), Entered::Full);
        assert!(matches!(queue.enter('b', 5), Entered::Waits { displaced: Some(3), .. }));
        assert_eq!(queue.enter('b', 6), Entered::Full, "both lines would be as long again");
        assert!(matches!(queue.enter('c', 7), Entered::Waits { displaced: Some(2), .. }));
        assert_eq!(queue.enter('d', 8), Entered::Full);
        assert_eq!(rest(queue), [1, 5, 7]);
    }

    #[test]
    fn one_that_leaves_makes_room_and_is_not_served() {
        let mut queue = queue(2, &[('a', 1)]);
        let Entered::Waits { id, .. } = queue.enter('b', 2) else { panic!("it waits") };
        queue.leave('b', id);
        queue.leave('b', id);
        assert_eq!(queue.waiting(), 1);
        assert!(matches!(queue.enter('c', 3), Entered::Waits { displaced: None, .. }));
        assert_eq!(rest(queue), [1, 3]);
    }

    #[test]
    fn as_many_run_at_once_as_may() {
        let mut queue = FairQueue::new(2, 1);
        assert_eq!((queue.enter('a', 1), queue.enter('a', 2)), (Entered::Runs, Entered::Runs));
        assert!(matches!(queue.enter('a', 3), Entered::Waits { .. }));
        assert_eq!((queue.finish(), queue.finish(), queue.finish()), (Some(3), None, None));
        assert_eq!((queue.enter('a', 4), queue.enter('a', 5)), (Entered::Runs, Entered::Runs));
    }
}
