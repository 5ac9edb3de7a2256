//! Messages that the person has not seen.

/// Number of unread messages, and the place up to which they were read.
pub(super) struct Unread {
    count: u32,
    position: u64,
    /// Messages came since they were counted.
    stale: bool,
}

impl Unread {
    /// `count` messages are unread, those before `position` are read.
    pub(super) fn new(count: u32, position: u64) -> Self {
        Self { count, position, stale: false }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Place up to which everything was read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the messages are to be counted again.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Whether all was read up to a place, and nothing came since.
    pub(super) fn is_read_to(&self, position: u64) -> bool {
        self.count == 0 && !self.stale && self.position >= position
    }

    /// Takes note that a message came.
    pub(super) fn came(&mut self) {
        self.stale = true;
    }

    /// Marks everything before `position` as read. `end`: the place that the session has reached.
    pub(super) fn read_to(&mut self, position: u64, end: u64) {
        self.position = self.position.max(position);
        self.count = 0;
        self.stale = end > position;
    }

    /// Takes the number of unread messages, of `all` or of all but what is not on the disk yet.
    /// Returns whether it is another.
    pub(super) fn counted(&mut self, count: u32, all: bool) -> bool {
        self.stale = !all;
        std::mem::replace(&mut self.count, count) != count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_reading_is_counted_again() {
        let mut unread = Unread::new(3, 10);
        assert!(!unread.is_read_to(10));
        unread.read_to(20, 20);
        assert!(unread.is_read_to(20) && !unread.is_read_to(21));
        unread.came();
        assert!(unread.is_stale() && !unread.is_read_to(20));
        assert!(unread.counted(1, true) && !unread.is_stale());
        unread.read_to(15, 25);
        assert_eq!((unread.count(), unread.position()), (0, 20), "reading never goes back");
        assert!(unread.is_stale(), "something came behind what was read");
    }
}
