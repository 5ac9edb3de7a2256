//! Bytes that the server holds for others at once: one budget for the whole process, and in it a share for each session,
//! client and agent.
//!
//! Limits on the number of things do not bound memory: a chunk has one byte or four million. Whatever is kept until
//! somebody else does something (output that waits for a commit, answers that a reader has not taken, the history that a
//! run is given) is taken from here first and given back by dropping its [`Hold`]. Nobody holds two at once and waits for
//! the second, so waiting always ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{config::Limits, limits::Client};

/// Bytes that there is room for when there is room for some more: a page of a stream.
const SOME: usize = 256 << 10;

/// Whose share it is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// What is done for a session, by its id.
    Session(String),
    /// What a client asked for.
    Client(Client),
    /// What a client sends.
    Sender(Client),
    /// What an agent said, by its session's id and its own.
    Agent(String, String),
}

/// A little is this part of a share: 192 KiB of the usual one.
const LITTLE: usize = 128;

/// The bytes that may be held. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: usize,
    share: usize,
    held: Mutex<Held>,
    given_back: Notify,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by: HashMap<Owner, usize>,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let share = limits.held_bytes_each.min(limits.held_bytes);
        Self(Arc::new(Shared {
            total: limits.held_bytes,
            share,
            held: Mutex::default(),
            given_back: Notify::new(),
        }))
    }

    /// Takes bytes at once, or says that there is no room now. What is larger than a share counts as one.
    ///
    /// The last quarter is for what agents say, because others wait for that while they hold something: it comes into the
    /// stream by itself, so their waiting ends. And who holds nothing always gets a little, so that no number of others
    /// keeps a short answer or a short session waiting.
    pub(crate) fn try_take(&self, owner: &Owner, bytes: usize) -> Option<Hold> {
        let bytes = bytes.min(self.0.share);
        let mut held = self.lock();
        let own = held.by.get(owner).copied().unwrap_or(0);
        let most = match owner {
            Owner::Agent(..) => self.0.total,
            Owner::Session(_) | Owner::Client(_) | Owner::Sender(_) => {
                self.0.total - self.0.total / 4
            }
        };
        let is_little = own == 0 && bytes <= self.0.share / LITTLE;
        let has_room =
            held.all.saturating_add(bytes) <= most && own.saturating_add(bytes) <= self.0.share;
        if !has_room && !is_little {
            return None;
        }
        held.all += bytes;
        *held.by.entry(owner.clone()).or_default() += bytes;
        drop(held);
        Some(Hold { budget: self.clone(), owner: owner.clone(), bytes })
    }

    /// Takes bytes when there is room.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing.
    pub(crate) async fn take(&self, owner: &Owner, bytes: usize) -> Hold {
        loop {
            let given_back = self.0.given_back.notified();
            let mut given_back = std::pin::pin!(given_back);
            given_back.as_mut().enable(); // what is given back from here on is not missed
            if let Some(hold) = self.try_take(owner, bytes) {
                return hold;
            }
            given_back.await;
        }
    }

    /// Whether an owner's share and three quarters of the budget have room for some more: the last one is for what others
    /// wait for while they hold something. Who holds nothing may always have something, so that others cannot keep it
    /// from everything.
    pub(crate) fn has_room(&self, owner: &Owner) -> bool {
        let held = self.lock();
        let own = held.by.get(owner).copied().unwrap_or(0);
        let most = self.0.total - self.0.total / 4;
        own == 0
            || (own.saturating_add(SOME) <= self.0.share && held.all.saturating_add(SOME) <= most)
    }

    /// Waits until there [is room](Self::has_room).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn room(&self, owner: &Owner) {
        loop {
            let mut given_back = std::pin::pin!(self.0.given_back.notified());
            given_back.as_mut().enable(); // what is given back from here on is not missed
            if self.has_room(owner) {
                return;
            }
            given_back.await;
        }
    }

    /// Takes bytes that are in memory already, whether there was room for them or not: whoever makes them looked for room
    /// first and could not know how many there would be.
    pub(crate) fn take_anyway(&self, owner: &Owner, bytes: usize) -> Hold {
        let mut held = self.lock();
        held.all += bytes;
        *held.by.entry(owner.clone()).or_default() += bytes;
        drop(held);
        Hold { budget: self.clone(), owner: owner.clone(), bytes }
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Budget,
    owner: Owner,
    bytes: usize,
}

impl Hold {
    /// Gives back all but so many bytes. Fewer than that stay as they are.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.give_back(less);
    }

    fn give_back(&self, bytes: usize) {
        let mut held = self.budget.lock();
        held.all -= bytes;
        if let Some(own) = held.by.get_mut(&self.owner) {
            *own -= bytes;
            if *own == 0 {
                held.by.remove(&self.owner);
            }
        }
        drop(held);
        self.budget.0.given_back.notify_waiters();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::new(&Limits { held_bytes: 100, held_bytes_each: 40, ..Limits::default() })
    }

    fn session(id: &str) -> Owner {
        Owner::Session(id.to_owned())
    }

    #[test]
    fn one_owner_never_has_more_than_its_share_and_all_never_more_than_the_budget() {
        let budget = budget();
        let ann = budget.try_take(&session("ann"), 30).unwrap();
        assert!(budget.try_take(&session("ann"), 11).is_none());
        let _bob = budget.try_take(&session("bob"), 40).unwrap();
        assert!(budget.try_take(&session("eve"), 31).is_none());
        drop(ann);
        assert!(budget.try_take(&session("eve"), 31).is_some());
        assert_eq!(budget.held(), 40);
    }

    #[test]
    fn what_is_larger_than_a_share_waits_until_its_owner_holds_nothing() {
        let budget = budget();
        let mut small = budget.try_take(&session("ann"), 10).unwrap();
        assert!(budget.try_take(&session("ann"), 1000).is_none());
        small.shrink_to(0);
        assert!(budget.try_take(&session("ann"), 1000).is_some());
    }

    #[test]
    fn who_holds_nothing_always_has_room_for_something() {
        let budget = budget();
        let _all = budget.take_anyway(&session("ann"), 100);
        assert!(budget.has_room(&session("bob")) && !budget.has_room(&session("ann")));
        let more = budget.take_anyway(&session("bob"), 1);
        assert!(!budget.has_room(&session("bob")));
        assert_eq!(budget.held(), 101);
        drop(more);
        assert!(budget.has_room(&session("bob")));
    }

    #[test]
    fn agents_output_has_room_that_nobody_else_can_take_and_a_little_is_always_there() {
        let limits = Limits { held_bytes: 4096, held_bytes_each: 2048, ..Limits::default() };
        let budget = Budget::new(&limits);
        let _ann = budget.try_take(&session("ann"), 2048).unwrap();
        let _bob = budget.try_take(&session("bob"), 1024).unwrap();
        assert!(budget.try_take(&session("eve"), 17).is_none());
        let _little = budget.try_take(&session("eve"), 16).unwrap();
        assert!(budget.try_take(&session("eve"), 1).is_none(), "only who holds nothing");
        let agent = Owner::Agent("eve".to_owned(), "agent".to_owned());
        assert!(budget.try_take(&agent, 1008).is_some());
        assert!(budget.try_take(&agent, 1009).is_none());
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_something_is_given_back() {
        let budget = budget();
        let first = budget.try_take(&session("ann"), 40).unwrap();
        let waiting = budget.clone();
        let second = tokio::spawn(async move { waiting.take(&session("ann"), 40).await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        drop(second.await.unwrap());
        assert_eq!(budget.held(), 0);
    }
}
