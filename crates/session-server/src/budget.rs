//! Bytes that the server holds for others at once: one budget for the whole process, and in it a share for each
//! session, client and agent.
//!
//! Limits on the number of things do not bound memory: a chunk has one byte or four million. Whatever is kept until
//! somebody else does something (output that waits for a commit, answers that a reader has not taken, the history that
//! a run is given) is taken from here first and given back by dropping its [`Hold`]. Nobody holds two at once and waits
//! for the second, so waiting always ends.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{config::Limits, limits::ClientKey};

/// Whose share it is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// Work that is done for a session, by its id.
    Session(String),
    /// Answers that a client asked for.
    Client(ClientKey),
    /// Bodies that a client sends.
    Sender(ClientKey),
    /// Words of an agent, by its session's id and its own.
    Agent(String, String),
}

/// A little is this part of a share: 192 KiB of the usual one.
const LITTLE: usize = 128;

/// When so many of one owner wait, those that have gone are forgotten.
const FORGET: usize = 64;

/// The bytes that may be held. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    total: usize,
    share: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by: HashMap<Owner, Own>,
    /// Owners of whom somebody waits, in the order in which they are looked at.
    turns: VecDeque<Owner>,
}

#[derive(Debug, Default)]
struct Own {
    bytes: usize,
    /// Demands that wait for room, first come, first served.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    demand: Demand,
    grant: oneshot::Sender<Hold>,
}

#[derive(Debug, Clone, Copy)]
struct Demand {
    bytes: usize,
    /// Whether an owner that holds nothing gets them however much others hold.
    always: bool,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let share = limits.held_bytes_each.min(limits.held_bytes);
        Self(Arc::new(Shared { total: limits.held_bytes, share, held: Mutex::default() }))
    }

    /// Takes bytes at once, or says that there is no room now. What is larger than a share counts as one.
    ///
    /// The last quarter is for what agents say, because others wait for that while they hold something: it comes into
    /// the stream by itself, so their waiting ends. And who holds nothing always gets a little, so that no number of
    /// others keeps a short answer or a short session waiting.
    pub(crate) fn try_take(&self, owner: &Owner, bytes: usize) -> Option<Hold> {
        self.try_demand(&mut self.lock(), owner, self.demand(bytes))
    }

    /// Takes bytes when there is room.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing.
    pub(crate) async fn take(&self, owner: &Owner, bytes: usize) -> Hold {
        self.get(owner, self.demand(bytes)).await
    }

    /// Takes bytes for the making of one answer, as [`take`](Self::take), but who holds nothing gets them always:
    /// others cannot keep it from everything. How many there are in the end, [`Hold::set`] says.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing.
    pub(crate) async fn answer(&self, owner: &Owner, bytes: usize) -> Hold {
        self.get(owner, Demand { always: true, ..self.demand(bytes) }).await
    }

    /// Takes those bytes at once, or not.
    pub(crate) fn try_answer(&self, owner: &Owner, bytes: usize) -> Option<Hold> {
        self.try_demand(&mut self.lock(), owner, Demand { always: true, ..self.demand(bytes) })
    }

    /// Takes bytes that are in memory already, whether there was room for them or not.
    pub(crate) fn take_anyway(&self, owner: &Owner, bytes: usize) -> Hold {
        let mut held = self.lock();
        self.give(&mut held, owner, bytes)
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> usize {
        self.lock().all
    }

    fn demand(&self, bytes: usize) -> Demand {
        Demand { bytes: bytes.min(self.0.share), always: false }
    }

    async fn get(&self, owner: &Owner, demand: Demand) -> Hold {
        let granted = {
            let mut held = self.lock();
            if let Some(hold) = self.try_demand(&mut held, owner, demand) {
                return hold;
            }
            let (grant, granted) = oneshot::channel();
            let own = held.by.entry(owner.clone()).or_default();
            if own.waiting.len() >= FORGET && own.waiting.len().is_power_of_two() {
                own.waiting.retain(|waiting| !waiting.grant.is_closed());
            }
            own.waiting.push_back(Waiting { demand, grant });
            if own.waiting.len() == 1 {
                held.turns.push_back(owner.clone());
            }
            granted
        };
        granted.await.expect("who waits is forgotten only with the budget, which `self` keeps")
    }

    /// Grants a demand, unless one of the same owner waits before it.
    fn try_demand(&self, held: &mut Held, owner: &Owner, demand: Demand) -> Option<Hold> {
        let waits = held.by.get(owner).is_some_and(|own| !own.waiting.is_empty());
        (!waits && self.fits(held, owner, demand)).then(|| self.give(held, owner, demand.bytes))
    }

    fn fits(&self, held: &Held, owner: &Owner, demand: Demand) -> bool {
        let own = held.by.get(owner).map_or(0, |own| own.bytes);
        let most = match owner {
            Owner::Agent(..) => self.0.total,
            Owner::Session(_) | Owner::Client(_) | Owner::Sender(_) => {
                self.0.total - self.0.total / 4
            }
        };
        let is_little = demand.always || demand.bytes <= self.0.share / LITTLE;
        (own == 0 && is_little)
            || (held.all.saturating_add(demand.bytes) <= most
                && own.saturating_add(demand.bytes) <= self.0.share)
    }

    fn give(&self, held: &mut Held, owner: &Owner, bytes: usize) -> Hold {
        held.all += bytes;
        held.by.entry(owner.clone()).or_default().bytes += bytes;
        Hold { budget: self.clone(), owner: owner.clone(), bytes }
    }

    /// Changes what an owner holds; then gives room that is there now to who waited for it. Each of them is woken once:
    /// a thousand who wait cost nothing while one is served.
    fn change(&self, owner: &Owner, less: usize, more: usize) {
        let mut held = self.lock();
        // Others waited for this only when there was no more for anybody.
        let was_full = held.all.saturating_add(self.0.share) > self.0.total - self.0.total / 4;
        held.all = held.all - less + more;
        if let Some(own) = held.by.get_mut(owner) {
            own.bytes = own.bytes - less + more;
        }
        let mut unwanted = self.serve(&mut held, owner);
        if was_full {
            for _ in 0..held.turns.len() {
                let Some(next) = held.turns.pop_front() else { break };
                held.turns.push_back(next.clone());
                unwanted.append(&mut self.serve(&mut held, &next));
            }
        }
        if held.by.get(owner).is_some_and(|own| own.bytes == 0 && own.waiting.is_empty()) {
            held.by.remove(owner);
        }
        drop(held);
        // Who waited has gone: somebody else may have it.
        drop(unwanted);
    }

    /// Serves those of one owner who wait. What was given to somebody who has gone comes back.
    fn serve(&self, held: &mut Held, owner: &Owner) -> Vec<Hold> {
        let mut unwanted = Vec::new();
        while let Some(first) = held.by.get(owner).and_then(|own| own.waiting.front()) {
            let (demand, is_gone) = (first.demand, first.grant.is_closed());
            if !is_gone && !self.fits(held, owner, demand) {
                break;
            }
            let Some(own) = held.by.get_mut(owner) else { break };
            let Some(first) = own.waiting.pop_front() else { break };
            if own.waiting.is_empty() {
                held.turns.retain(|waits| waits != owner);
            }
            if !is_gone {
                let hold = self.give(held, owner, demand.bytes);
                unwanted.extend(first.grant.send(hold).err());
            }
        }
        unwanted
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
        self.set(self.bytes.min(bytes));
    }

    /// Holds so many bytes from now on, whether there is room for more or not: they are in memory already.
    pub(crate) fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.budget.change(&self.owner, before, bytes);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.change(&self.owner, self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::atomic::{AtomicBool, Ordering},
        task::{Context, Poll, Wake},
    };

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
        assert!(budget.try_answer(&session("ann"), 30).is_none());
        let mut answer = budget.try_answer(&session("bob"), 30).unwrap();
        answer.set(1);
        assert!(budget.try_answer(&session("bob"), 30).is_none());
        assert_eq!(budget.held(), 101);
        drop(answer);
        assert!(budget.try_answer(&session("bob"), 30).is_some());
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

    /// A demand that waits, and whether it was called since it was looked at.
    struct Waiter {
        take: Pin<Box<dyn Future<Output = Hold>>>,
        called: Arc<Called>,
    }

    #[derive(Default)]
    struct Called(AtomicBool);

    impl Wake for Called {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    impl Waiter {
        fn new(budget: &Budget, name: &str, bytes: usize) -> Self {
            let (budget, owner) = (budget.clone(), session(name));
            let take = Box::pin(async move { budget.take(&owner, bytes).await });
            let mut new = Self { take, called: Arc::default() };
            assert!(new.look().is_pending());
            new
        }

        fn look(&mut self) -> Poll<Hold> {
            self.take.as_mut().poll(&mut Context::from_waker(&Arc::clone(&self.called).into()))
        }

        fn is_called(&self) -> bool {
            self.called.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn those_who_wait_are_served_in_order_and_nobody_is_called_in_vain() {
        let budget = budget();
        let first = budget.try_take(&session("ann"), 40).unwrap();
        let mut waiting: VecDeque<_> = (0..100).map(|_| Waiter::new(&budget, "ann", 20)).collect();
        assert!(budget.try_take(&session("ann"), 0).is_none(), "nobody is overtaken");
        let mut held = vec![first];
        while !waiting.is_empty() {
            held.clear();
            let called = waiting.iter().take_while(|waiter| waiter.is_called()).count();
            assert_eq!(called, 2, "as many as there is room for");
            assert!(waiting.iter().skip(called).all(|waiter| !waiter.is_called()));
            for mut waiter in waiting.drain(..called) {
                let Poll::Ready(hold) = waiter.look() else { panic!("it was called") };
                held.push(hold);
            }
        }
        held.clear();
        assert!(budget.lock().by.is_empty() && budget.held() == 0, "nothing is left");
    }

    #[test]
    fn what_somebody_gets_who_has_gone_goes_to_the_next() {
        let budget = budget();
        let all = budget.take_anyway(&session("max"), 100);
        let names = ["ann", "bob", "eve"].into_iter().cycle();
        let mut waiting: Vec<_> =
            names.take(30).map(|name| Waiter::new(&budget, name, 30)).collect();
        drop(all);
        let mut got = 0;
        while let Some(at) = waiting.iter().position(Waiter::is_called) {
            let mut waiter = waiting.remove(at);
            // Every other goes away without looking.
            got += usize::from(waiting.len() % 2 == 0 && waiter.look().is_ready());
        }
        assert!(waiting.is_empty() && got > 0, "{} wait for ever", waiting.len());
        assert_eq!(budget.held(), 0);
    }
}
