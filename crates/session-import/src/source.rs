//! What a reader is given, and what all readers do alike: conversations of a list, the newest copy of each, titles,
//! times, keys, branches.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::Format;
use crate::dag::Dag;
use crate::json::{Item, Items};
use crate::model::{Branch, Message, Part, Problem, Role, Session};
use crate::shape::Shape;
use crate::sink::{Sink, Stop};
use crate::text;
use crate::tree::{Entry, Tree};
use crate::turns::Told;

/// Branches of one conversation that are read beside the shown one.
pub(crate) const MAX_OTHERS: usize = 32;
/// Bytes that are looked at to find out how a file is made.
pub(crate) const HEAD: u64 = 64 << 10;

/// The files of one format, and where what is in them goes.
pub(crate) struct Input<'a> {
    /// All files of what is imported.
    pub(crate) tree: &'a Tree,
    /// Those of the format, in order.
    pub(crate) entries: Vec<Entry>,
    /// Where sessions and problems go.
    pub(crate) sink: &'a mut dyn Sink,
}

impl Input<'_> {
    /// Takes down an item that could not be read.
    pub(crate) fn problem(&mut self, place: impl Into<String>, reason: &'static str) {
        self.sink.problem(Problem { place: place.into(), reason });
    }

    /// Hands on a session; one without messages is nothing.
    pub(crate) fn session(&mut self, session: Option<Session>) -> Result<(), Stop> {
        match session.filter(|session| !session.messages.is_empty()) {
            Some(session) => self.sink.session(session),
            None => Ok(()),
        }
    }
}

/// How the conversations of a format stand in a file.
pub(crate) struct Listing {
    /// Fields of a top-level object whose lists hold them.
    pub(crate) lists: &'static [&'static str],
    /// A field that each of them has.
    pub(crate) marker: &'static [&'static str],
    /// Whether something is one.
    pub(crate) is_item: fn(&Value) -> bool,
    /// The id of one, when it changed last, and how much is in it.
    pub(crate) stamp: fn(&Value) -> Option<Stamp>,
}

/// The id of a conversation, when it changed last, and how much is in it.
pub(crate) type Stamp = (String, Option<Timestamp>, usize);

/// What is made of one conversation: a session, nothing, or a problem.
pub(crate) type Made = Result<Option<Session>, &'static str>;

/// Reads the conversations of all files, one at a time. Of those that are there more than once the one that changed last
/// is read. `flaws` of `make` are parts of a conversation that could not be read.
pub(crate) fn conversations(
    input: &mut Input<'_>,
    listing: &Listing,
    make: &mut dyn FnMut(&Value, &Entry, &mut Vec<&'static str>) -> Made,
) -> Result<(), Stop> {
    let newest = newest(input, listing);
    let mut count = 0;
    for entry in input.entries.clone() {
        input.sink.file(&entry.path, entry.size);
        let Some(mut items) = items(input.tree, &entry, listing) else {
            input.problem(&*entry.path, "it cannot be unpacked");
            continue;
        };
        while let Some(item) = items.next() {
            let place = format!("{} #{}", entry.path, items.count);
            count += 1;
            let value = match item {
                Item::Broken(reason) => {
                    input.problem(place, reason);
                    continue;
                }
                Item::Value(value) => value,
            };
            if let Some((key, ..)) = (listing.stamp)(&value)
                && newest.get(&key).is_some_and(|(.., at)| *at != count)
            {
                continue;
            }
            let mut flaws = Vec::new();
            match make(&value, &entry, &mut flaws) {
                Ok(session) => input.session(session)?,
                Err(reason) => flaws.push(reason),
            }
            for flaw in flaws {
                input.problem(&*place, flaw);
            }
        }
    }
    Ok(())
}

type Newest = HashMap<String, (Option<Timestamp>, usize, usize)>;

/// Which element is the last copy of each conversation.
fn newest(input: &Input<'_>, listing: &Listing) -> Newest {
    let (mut newest, mut count) = (Newest::new(), 0);
    for entry in &input.entries {
        for item in items(input.tree, entry, listing).into_iter().flatten() {
            count += 1;
            let Item::Value(value) = item else { continue };
            let Some((key, updated, size)) = (listing.stamp)(&value) else { continue };
            let known = newest.get(&key);
            if known.is_none_or(|(at, had, _)| (updated, size) > (*at, *had)) {
                newest.insert(key, (updated, size, count));
            }
        }
    }
    newest
}

fn items<'a>(tree: &Tree, entry: &Entry, listing: &'a Listing) -> Option<Items<'a>> {
    let head = tree.head(entry, HEAD).ok()?;
    let shape = Shape::of(&head);
    let is_object = head.trim_ascii_start().starts_with(b"{");
    let inside = listing.lists.iter().any(|list| shape.has(&format!("{list}/[]")));
    let is_one = listing.marker.iter().any(|field| shape.has(field));
    let lists = if inside || is_object && !is_one && !shape.whole { listing.lists } else { &[] };
    Some(Items::new(tree.read(entry).ok()?, lists, listing.is_item))
}

/// A hash of what tells something apart, for what has no id.
pub(crate) fn hash(pieces: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for piece in pieces {
        hasher.update(&(piece.len() as u64).to_le_bytes());
        hasher.update(piece.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// A session of these messages. `seed` tells it apart where it has no id.
pub(crate) fn session(
    format: Format,
    source_id: Option<&str>,
    seed: &[&str],
    told: Told,
) -> Session {
    let source_id = source_id.filter(|id| !id.trim().is_empty()).map(text::clean);
    let key = match &source_id {
        Some(id) => hash(&[format.name(), id]),
        None => {
            let mut pieces = vec![format.name(), "without an id"];
            pieces.extend(seed);
            hash(&pieces)
        }
    };
    let dated = |message: &&Message| !message.guessed;
    Session {
        format,
        source_id,
        key,
        title: title(None, &told.messages, format),
        created_at: told.messages.iter().find(dated).and_then(|message| message.at),
        updated_at: told.messages.iter().rfind(dated).and_then(|message| message.at),
        messages: told.messages,
        branch: None,
        others: Vec::new(),
        compactions: told.compactions,
        context_from: None,
        system_prompt: None,
        working_directory: None,
        touched_files: Vec::new(),
        interrupted: false,
    }
}

impl Session {
    /// The same under the source's title, where it has one.
    pub(crate) fn titled(mut self, given: Option<&str>) -> Self {
        self.title = title(given, &self.messages, self.format);
        self
    }

    /// The same with the source's own times, where it has them.
    pub(crate) fn dated(mut self, created: Option<Timestamp>, updated: Option<Timestamp>) -> Self {
        self.created_at = created.or(self.created_at);
        self.updated_at = updated.or(self.updated_at);
        if let (Some(created), Some(first)) = (self.created_at, self.messages.first_mut())
            && first.at.is_none()
        {
            let mut at = created;
            for message in &mut self.messages {
                message.at = Some(*message.at.get_or_insert(at));
                at = message.at.map_or(at, crate::time::just_after);
            }
        }
        self
    }

    /// The same with a system prompt, where there is one.
    pub(crate) fn prompted(mut self, prompt: Option<&str>) -> Self {
        let prompt = prompt.filter(|prompt| !text::is_blank(prompt));
        self.system_prompt = prompt.map(text::clean).or(self.system_prompt);
        self
    }

    /// The same with the folder that was worked in.
    pub(crate) fn working_in(mut self, folder: Option<&str>) -> Self {
        self.working_directory = folder.filter(|folder| !folder.is_empty()).map(str::to_owned);
        self
    }

    /// The same with the path that is shown.
    pub(crate) fn branched(mut self, branch: Branch, others: Vec<Vec<Message>>) -> Self {
        (self.branch, self.others) = (Some(branch), others);
        self
    }
}

/// The source's title, else the first line that a person wrote.
fn title(given: Option<&str>, messages: &[Message], format: Format) -> String {
    let given = given.and_then(|title| title.lines().map(str::trim).find(|line| !line.is_empty()));
    if let Some(title) = given {
        // What the server takes as a title.
        return text::clean(title).chars().filter(|c| !c.is_control()).take(120).collect();
    }
    let own = messages.iter().filter(|message| message.role == Role::User);
    let mut words = own.flat_map(|message| &message.parts).filter_map(|part| match part {
        Part::Text(words) => text::title_of(words),
        _ => None,
    });
    words.next().unwrap_or_else(|| format!("Chat from {}", format.label()))
}

/// The shown path of a conversation with branches, and the others.
pub(crate) struct Paths {
    /// Indices of the shown entries.
    pub(crate) shown: Vec<usize>,
    /// The same of the other leaves, the newest first, and at most 32.
    pub(crate) others: Vec<Vec<usize>>,
    /// Which one is shown.
    pub(crate) branch: Branch,
}

/// The path to `pointer`, else to the newest leaf. `id` gives the id of an entry.
pub(crate) fn paths(
    dag: &Dag,
    pointer: Option<(usize, &'static str)>,
    id: &dyn Fn(usize) -> String,
) -> Option<Paths> {
    let (leaf, why) = match pointer {
        Some(pointer) => pointer,
        None => (dag.newest()?, "the newest leaf: the source points at none"),
    };
    let shown = dag.path(leaf);
    let leaves = dag.others(&shown);
    let branch = Branch { leaf: Some(id(leaf)), why, other_leaves: leaves.len(), continues: None };
    let others = leaves.into_iter().take(MAX_OTHERS).map(|leaf| dag.path(leaf)).collect();
    Some(Paths { shown, others, branch })
}
