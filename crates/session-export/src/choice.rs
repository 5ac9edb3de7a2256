//! Which of the secrets that were found are hidden, and the list that a person chooses by.

use std::collections::{BTreeMap, BTreeSet};

use crate::secrets::{Secret, find, shown};

/// Characters around a secret that are told with it.
const CONTEXT: usize = 32;
/// Characters of a secret's id.
const ID: usize = 8;

/// What a person chose. By default definite secrets are hidden and candidates are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Nothing is hidden but what `hide` names.
    pub keep_all: bool,
    /// Ids of secrets ([`Hit::id`]) that are left as they are.
    pub keep: BTreeSet<String>,
    /// Ids of secrets that are hidden, also of candidates.
    pub hide: BTreeSet<String>,
}

impl Choice {
    fn hides(&self, id: &str, definite: bool) -> bool {
        if self.keep.contains(id) {
            return false;
        }
        self.hide.contains(id) || definite && !self.keep_all
    }
}

/// A secret that was found, however often it was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Eight characters that are the same each time; the secret cannot be found out by them.
    pub id: String,
    /// What it is.
    pub kind: &'static str,
    /// How it is shown: its beginning and its last four characters.
    pub shown: String,
    /// It is surely one; others only look alike.
    pub definite: bool,
    /// It was hidden.
    pub hidden: bool,
    /// How often it was there.
    pub count: usize,
    /// The words around it where it was first, on one line, with all secrets as they are shown.
    pub context: String,
}

/// The secrets that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    hits: BTreeMap<String, Hit>,
}

impl Found {
    /// Each secret once, the definite ones first, then by kind.
    pub fn hits(&self) -> Vec<&Hit> {
        let mut hits: Vec<&Hit> = self.hits.values().collect();
        hits.sort_by_key(|hit| (!hit.definite, hit.kind, &hit.id));
        hits
    }

    /// Whether a secret was hidden.
    pub fn is_any_hidden(&self) -> bool {
        self.hits.values().any(|hit| hit.hidden)
    }

    /// Adds what was found elsewhere.
    pub fn merge(&mut self, other: Self) {
        for (id, hit) in other.hits {
            match self.hits.get_mut(&id) {
                Some(known) => {
                    known.count += hit.count;
                    known.hidden |= hit.hidden;
                    known.definite |= hit.definite;
                }
                None => drop(self.hits.insert(id, hit)),
            }
        }
    }

    /// Adds what is not known yet.
    pub fn add_unknown(&mut self, other: Self) {
        for (id, hit) in other.hits {
            self.hits.entry(id).or_insert(hit);
        }
    }

    /// Takes down a secret of `text`, and says whether it is hidden.
    pub fn take(&mut self, secret: &Secret, text: &str, choice: &Choice) -> bool {
        let own = &text[secret.range.clone()];
        let id = id_of(own);
        let hidden = choice.hides(&id, secret.definite);
        let hit = self.hits.entry(id.clone()).or_insert_with(|| Hit {
            id,
            kind: secret.kind,
            shown: shown(own),
            definite: secret.definite,
            hidden,
            count: 0,
            context: context(text, secret),
        });
        hit.count += 1;
        hidden
    }
}

/// The id of a secret: a piece of a keyed hash, too short to be tried out against guesses of a secret.
fn id_of(secret: &str) -> String {
    let key = blake3::derive_key("threadkeep 2026 ids of found secrets", secret.as_bytes());
    blake3::Hash::from_bytes(key).to_hex()[..ID].to_owned()
}

/// The words around a secret. Other secrets in them are shown as they would be hidden.
fn context(text: &str, secret: &Secret) -> String {
    let begin =
        text[..secret.range.start].char_indices().rev().nth(CONTEXT - 1).map_or(0, |(at, _)| at);
    let end = text[secret.range.end..]
        .char_indices()
        .nth(CONTEXT)
        .map_or(text.len(), |(at, _)| secret.range.end + at);
    // Found in the whole: a piece of a secret looks like none.
    let mut out = String::new();
    let mut from = begin;
    for other in
        find(text).iter().filter(|other| other.range.end > begin && other.range.start < end)
    {
        out.push_str(text.get(from..other.range.start).unwrap_or_default());
        out.push_str(&shown(&text[other.range.clone()]));
        from = other.range.end;
    }
    out.push_str(text.get(from..end).unwrap_or_default());
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::hidden;

    fn secret(prefix: &str, seed: u32) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut seed = seed;
        let body = (0..36).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(letters[(seed >> 8) as usize % letters.len()])
        });
        body.fold(prefix.to_owned(), |mut all, c| {
            all.push(c);
            all
        })
    }

    fn read(text: &str, choice: &Choice) -> (String, Found) {
        let mut found = Found::default();
        let out = hidden(text, &mut |secret, text| found.take(secret, text, choice));
        (out.unwrap_or_else(|| text.to_owned()), found)
    }

    #[test]
    fn each_secret_is_kept_or_hidden_by_its_id() {
        let (one, two) = (secret("ghp_", 1), secret("ghp_", 2));
        let text = format!("first {one} then {two} and {one}; api_token: {}", secret("", 3));
        let (_, found) = read(&text, &Choice::default());
        let hits = found.hits();
        assert_eq!(hits.len(), 3);
        assert!(hits[0].definite && hits[1].definite && !hits[2].definite && !hits[2].hidden);
        let of = |shown: &str| {
            let hit = hits.iter().find(|hit| hit.shown.ends_with(&shown[shown.len() - 4..]));
            hit.unwrap().id.clone()
        };
        let choice = Choice {
            keep: BTreeSet::from([of(&one)]),
            hide: BTreeSet::from([hits[2].id.clone()]),
            ..Choice::default()
        };
        let (out, found) = read(&text, &choice);
        assert!(
            out.contains(&one) && !out.contains(&two) && !out.contains(&secret("", 3)),
            "{out}"
        );
        assert_eq!(found.hits().iter().filter(|hit| hit.hidden).count(), 2);
        assert_eq!(read(&text, &Choice { keep_all: true, ..Choice::default() }).0, text);
    }

    #[test]
    fn what_is_told_about_a_secret_holds_none() {
        let (one, two) = (secret("ghp_", 1), secret("glpat-", 2));
        let text = format!("{}\nexport A={one} B={two}\n{}", "é".repeat(80), "z".repeat(80));
        let found = read(&text, &Choice::default()).1;
        assert!(found.hits()[0].context.contains("export A=ghp_…"), "{found:?}");
        for hit in found.hits() {
            let told = format!("{hit:?}");
            for secret in [&one, &two] {
                assert!(!told.contains(&secret[8..24]), "{told}");
            }
            assert!(hit.context.contains(&hit.shown), "{told}");
        }
    }
}
