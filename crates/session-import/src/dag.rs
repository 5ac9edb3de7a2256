//! Which path of a conversation with branches is shown.
//!
//! Paths are walked upwards, from a leaf by its parents: lists of children are stale, empty or absent in exports.

use std::collections::HashMap;

use jiff::Timestamp;

/// An entry and the one before it.
pub(crate) struct Node {
    /// Its id.
    pub(crate) id: String,
    /// The id of the entry before it.
    pub(crate) parent: Option<String>,
    /// When it was written.
    pub(crate) at: Option<Timestamp>,
    /// Whether something of it is shown.
    pub(crate) shows: bool,
}

/// The entries of a conversation, in the order of the file.
pub(crate) struct Dag {
    nodes: Vec<Node>,
    parents: Vec<Option<usize>>,
    has_child: Vec<bool>,
    by_id: HashMap<String, usize>,
}

impl Dag {
    /// Joins the entries. An id that is there twice is the last one.
    pub(crate) fn new(nodes: Vec<Node>) -> Self {
        let by_id: HashMap<String, usize> =
            nodes.iter().enumerate().map(|(at, node)| (node.id.clone(), at)).collect();
        let mut has_child = vec![false; nodes.len()];
        let mut parents = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            let parent = node.parent.as_ref().and_then(|id| by_id.get(id)).copied();
            let parent = parent.filter(|parent| *parent != at);
            if let Some(parent) = parent
                && by_id.get(&node.id) == Some(&at)
            {
                has_child[parent] = true;
            }
            parents.push(parent);
        }
        Self { nodes, parents, has_child, by_id }
    }

    /// Entries whose parent is nowhere follow the one before them in the file: the file is a log.
    pub(crate) fn in_file_order(mut self) -> Self {
        for at in 1..self.nodes.len() {
            if self.parents[at].is_none() && self.nodes[at].parent.is_some() {
                self.parents[at] = Some(at - 1);
                self.has_child[at - 1] = true;
            }
        }
        self
    }

    /// The entry with this id.
    pub(crate) fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The newest leaf that something is shown of, by time and then by place in the file.
    pub(crate) fn newest(&self) -> Option<usize> {
        self.leaves().into_iter().max_by_key(|leaf| (self.time(*leaf), *leaf))
    }

    /// Leaves with something to show on their way up.
    fn leaves(&self) -> Vec<usize> {
        let ends = (0..self.nodes.len()).filter(|at| self.is_live(*at) && !self.has_child[*at]);
        let nowhere = vec![false; self.nodes.len()];
        let mut known = vec![None; self.nodes.len()];
        let shows = |at: usize| self.nodes[at].shows;
        let mut leaves: Vec<usize> =
            ends.filter(|at| self.leads_beside(*at, &nowhere, &shows, &mut known)).collect();
        if leaves.is_empty() {
            // All of them are in a circle.
            leaves.extend((0..self.nodes.len()).rev().find(|at| self.nodes[*at].shows));
        }
        leaves
    }

    fn leads_beside(
        &self,
        leaf: usize,
        on: &[bool],
        counts: &dyn Fn(usize) -> bool,
        known: &mut [Option<bool>],
    ) -> bool {
        let (mut way, mut at) = (Vec::new(), Some(leaf));
        let mut found = false;
        while let Some(here) = at {
            if on[here] {
                break;
            }
            if let Some(known) = known[here] {
                found = known;
                break;
            }
            known[here] = Some(false); // a circle ends here
            way.push(here);
            at = self.parents[here];
        }
        for here in way.into_iter().rev() {
            found |= counts(here);
            known[here] = Some(found);
        }
        found
    }

    fn is_live(&self, at: usize) -> bool {
        self.by_id.get(&self.nodes[at].id) == Some(&at)
    }

    /// The time of an entry, or of the nearest above that has one.
    fn time(&self, at: usize) -> Option<Timestamp> {
        let mut at = Some(at);
        for _ in 0..self.nodes.len() {
            let here = at?;
            if self.nodes[here].at.is_some() {
                return self.nodes[here].at;
            }
            at = self.parents[here];
        }
        None
    }

    /// The path to an entry, from its root. Ends where it meets itself.
    pub(crate) fn path(&self, leaf: usize) -> Vec<usize> {
        let (mut path, mut at) = (Vec::new(), Some(leaf));
        let mut seen = vec![false; self.nodes.len()];
        while let Some(here) = at {
            if std::mem::replace(&mut seen[here], true) {
                break;
            }
            path.push(here);
            at = self.parents[here];
        }
        path.reverse();
        path
    }

    /// The leaves beside a path that show something which it does not, the newest first.
    pub(crate) fn others(&self, path: &[usize]) -> Vec<usize> {
        self.others_that(path, &|at| self.nodes[at].shows)
    }

    /// The leaves beside a path on whose way an entry beside it counts, the newest first.
    pub(crate) fn others_that(&self, path: &[usize], counts: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let mut on = vec![false; self.nodes.len()];
        for at in path {
            on[*at] = true;
        }
        // What is known of an entry: whether something on the way from it to the path counts.
        let mut known: Vec<Option<bool>> = vec![None; self.nodes.len()];
        let mut others = self.leaves();
        others.retain(|leaf| !on[*leaf] && self.leads_beside(*leaf, &on, counts, &mut known));
        others.sort_by_key(|leaf| std::cmp::Reverse((self.time(*leaf), *leaf)));
        others
    }
}
