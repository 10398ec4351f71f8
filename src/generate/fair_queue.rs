//! A queue in which clients take turns.

use std::collections::VecDeque;

/// What waits, by client. Each client's entries keep their order. The clients take turns, one entry at a time.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    /// The next turn is the first's. A client without entries is not in it.
    clients: VecDeque<(String, VecDeque<T>)>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        FairQueue { clients: VecDeque::new() }
    }
}

impl<T> FairQueue<T> {
    pub fn push(&mut self, client: &str, entry: T) {
        match self.clients.iter_mut().find(|(name, _)| name == client) {
            Some((_, entries)) => entries.push_back(entry),
            None => self.clients.push_back((client.to_owned(), VecDeque::from([entry]))),
        }
    }

    /// Takes the next entry. Its client's next turn comes after those of all others.
    pub fn pop(&mut self) -> Option<T> {
        let (client, mut entries) = self.clients.pop_front()?;
        let entry = entries.pop_front();
        if !entries.is_empty() {
            self.clients.push_back((client, entries));
        }
        entry
    }

    /// Takes all entries for which `which` is true.
    pub fn take_if(&mut self, which: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for (_, entries) in &mut self.clients {
            let (out, kept): (VecDeque<T>, VecDeque<T>) = entries.drain(..).partition(&which);
            taken.extend(out);
            *entries = kept;
        }
        self.clients.retain(|(_, entries)| !entries.is_empty());
        taken
    }

    pub fn len(&self) -> usize {
        self.clients.iter().map(|(_, entries)| entries.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::FairQueue;

    fn drained(mut queue: FairQueue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn clients_take_turns() {
        let mut queue = FairQueue::default();
        for entry in 0..4 {
            queue.push("a", entry);
        }
        queue.push("b", 10);
        queue.push("b", 11);
        queue.push("c", 20);
        assert_eq!(queue.len(), 7);
        assert_eq!(drained(queue), [0, 10, 20, 1, 11, 2, 3]);
    }

    #[test]
    fn a_client_that_returns_waits_for_its_turn() {
        let mut queue = FairQueue::default();
        queue.push("a", 0);
        queue.push("b", 1);
        assert_eq!(queue.pop(), Some(0));
        queue.push("a", 2);
        assert_eq!(drained(queue), [1, 2]);
    }

    #[test]
    fn entries_can_be_taken_from_the_middle() {
        let mut queue = FairQueue::default();
        for entry in 0..6 {
            queue.push(if entry < 3 { "a" } else { "b" }, entry);
        }
        assert_eq!(queue.take_if(|entry| *entry != 1 && *entry != 5), [0, 2, 3, 4]);
        assert_eq!(drained(queue), [1, 5]);
    }
}
