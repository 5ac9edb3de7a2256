//! The tools of the model agent: one that only looks, and one that acts and therefore asks first.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// A tool that a model may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Says what time it is somewhere.
    CurrentTime,
    /// Writes a note into the data folder.
    SaveNote,
}

impl Tool {
    const ALL: [Self; 2] = [Self::CurrentTime, Self::SaveNote];

    fn name(self) -> &'static str {
        match self {
            Self::CurrentTime => "current_time",
            Self::SaveNote => "save_note",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// A tool that changes something waits for a person.
    pub(crate) fn needs_approval(self) -> bool {
        self == Self::SaveNote
    }

    /// All tools, as chat completions want them described.
    pub(crate) fn described() -> Vec<Value> {
        let tools = Self::ALL.map(|tool| {
            let (description, parameters) = match tool {
                Self::CurrentTime => (
                    "The current date and time.",
                    json!({
                        "type": "object",
                        "properties": {
                            "zone": {"type": "string", "description": "IANA time zone, e.g. Europe/Paris; UTC if absent"},
                        },
                    }),
                ),
                Self::SaveNote => (
                    "Saves a note as a new file on the user's machine; the result says its name. The user is asked for approval first.",
                    json!({
                        "type": "object",
                        "properties": {
                            "title": {"type": "string", "description": "A short title; becomes the file name, with a number if there is one of that name"},
                            "text": {"type": "string", "description": "The note, in Markdown"},
                        },
                        "required": ["title", "text"],
                    }),
                ),
            };
            json!({
                "type": "function",
                "function": {
                    "name": tool.name(), "description": description, "parameters": parameters,
                },
            })
        });
        tools.into()
    }

    /// Runs the tool. Both results are told to the model.
    pub(crate) async fn run(self, input: &Value, notes: &Notes) -> Result<String, String> {
        match self {
            Self::CurrentTime => current_time(input.get("zone").and_then(Value::as_str)),
            Self::SaveNote => {
                let text = |key| input.get(key).and_then(Value::as_str);
                let (Some(title), Some(note)) = (text("title"), text("text")) else {
                    return Err("title and text are needed".to_owned());
                };
                notes.save(title, note.to_owned()).await
            }
        }
    }
}

fn current_time(zone: Option<&str>) -> Result<String, String> {
    let now = jiff::Timestamp::now();
    let zoned = now.in_tz(zone.unwrap_or("UTC")).map_err(|_| "unknown time zone".to_owned())?;
    Ok(json!({"time": zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(), "zone": zone})
        .to_string())
}

/// Notes of one title that a session may have.
const MAX_ALIKE: usize = 1000;

/// Where the notes of one session are: a folder of their own, so that nobody in another session reaches them.
#[derive(Debug)]
pub(crate) struct Notes {
    folder: PathBuf,
}

impl Notes {
    /// The notes of a session, in a folder below `all`. Its name begins like the session's id, as far as that is a
    /// name, and ends with a digest of it: ids that differ in anything have different folders, on every file system.
    pub(crate) fn of(all: &Path, session_id: &str) -> Self {
        let digest = blake3::hash(session_id.as_bytes()).to_hex();
        let name = plain(session_id, 40);
        let digest = &digest[..16];
        let name = if name.is_empty() { digest.to_owned() } else { format!("{name}-{digest}") };
        Self { folder: all.join(name) }
    }

    /// Writes a note into a file of its own. What is there is never overwritten: a second note of a title has a number.
    async fn save(&self, title: &str, text: String) -> Result<String, String> {
        let folder = self.folder.clone();
        let name = file_name(title);
        let saved = tokio::task::spawn_blocking(move || save(&folder, &name, &text)).await;
        let saved = saved.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()));
        let path = saved.map_err(|error| {
            format!("the note could not be written, nothing was saved: {}", error.kind())
        })?;
        // The folder above is the same for all notes.
        let shown: PathBuf = path.iter().rev().take(2).collect::<Vec<_>>().iter().rev().collect();
        Ok(json!({"saved": shown.to_string_lossy()}).to_string())
    }
}

fn save(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    for n in 1..=MAX_ALIKE {
        let number = if n == 1 { String::new() } else { format!("-{n}") };
        let path = folder.join(format!("{name}{number}.md"));
        let mut file = match std::fs::File::create_new(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written {
            std::fs::remove_file(&path).ok(); // half a note is none
            return Err(error);
        }
        return Ok(path);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A name without anything that a file system could take for more than one.
fn plain(text: &str, letters: usize) -> String {
    let name: String =
        text.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(letters).collect();
    name.trim_matches('-').to_owned()
}

/// The name of a note's file, without a number and an ending.
fn file_name(title: &str) -> String {
    let name = plain(title, 60);
    // Windows knows devices by these names, whatever the ending.
    let device = ["con", "prn", "aux", "nul"].contains(&name.to_lowercase().as_str())
        || (name.chars().count() == 4
            && ["com", "lpt"].iter().any(|port| name.to_lowercase().starts_with(port)));
    match name.as_str() {
        "" => "note".to_owned(),
        _ if device => format!("note-{name}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_stays_in_its_sessions_folder() {
        let all = Path::new("/data/notes");
        let folders =
            ["", ".", "..", "../..", "/", "a/b", "a-b", "A-b", "a\u{0}b", &"x".repeat(256)]
                .map(|id| Notes::of(all, id).folder);
        for (n, folder) in folders.iter().enumerate() {
            assert_eq!(folder.parent(), Some(all), "{folder:?}");
            let name = folder.file_name().unwrap().to_str().unwrap().to_lowercase();
            assert!(name.len() < 100, "{name}");
            let others = folders.iter().take(n).filter(|other| {
                other.file_name().unwrap().to_str().unwrap().to_lowercase() == name
            });
            assert_eq!(others.count(), 0, "{name}");
        }
        assert_eq!(file_name("../../etc/passwd"), "etc-passwd");
        assert_eq!(file_name("/"), "note");
        assert_eq!(file_name("Plan B"), "Plan-B");
        assert_eq!(file_name("CON"), "note-CON");
    }

    #[tokio::test]
    async fn a_second_note_of_a_title_has_a_name_of_its_own() {
        let all = tempfile::tempdir().unwrap();
        let notes = Notes::of(all.path(), "s");
        let first = notes.save("Plan", "one".to_owned()).await.unwrap();
        let second = notes.save("Plan", "two".to_owned()).await.unwrap();
        assert!(first.contains("Plan.md") && second.contains("Plan-2.md"), "{first} {second}");
        let read = |name: &str| std::fs::read_to_string(notes.folder.join(name)).unwrap();
        assert_eq!([read("Plan.md"), read("Plan-2.md")], ["one", "two"]);
    }

    #[test]
    fn knows_the_time_in_a_zone() {
        assert!(current_time(Some("Europe/Paris")).unwrap().contains("T"));
        assert!(current_time(Some("Nowhere/Land")).is_err());
    }
}
