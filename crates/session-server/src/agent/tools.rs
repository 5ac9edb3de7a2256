//! The tools of the model agent: one that only looks, and one that acts and therefore asks first.

use std::path::{Path, PathBuf};

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
    pub(crate) fn described() -> Value {
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
                    "Saves a note as a file on the user's machine. The user is asked for approval first.",
                    json!({
                        "type": "object",
                        "properties": {
                            "title": {"type": "string", "description": "A short title; becomes the file name"},
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
        Value::Array(tools.into())
    }

    /// Runs the tool. Both results are told to the model.
    pub(crate) async fn run(self, input: &Value, notes: &Path) -> Result<String, String> {
        match self {
            Self::CurrentTime => current_time(input.get("zone").and_then(Value::as_str)),
            Self::SaveNote => {
                let text = |key| input.get(key).and_then(Value::as_str);
                let (Some(title), Some(note)) = (text("title"), text("text")) else {
                    return Err("title and text are needed".to_owned());
                };
                save_note(notes, title, note).await
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

async fn save_note(notes: &Path, title: &str, text: &str) -> Result<String, String> {
    let path = note_path(notes, title);
    let failed = |error: std::io::Error| format!("the note could not be written: {}", error.kind());
    tokio::fs::create_dir_all(notes).await.map_err(failed)?;
    tokio::fs::write(&path, text).await.map_err(failed)?;
    Ok(json!({"saved": path.file_name().map(|name| name.to_string_lossy())}).to_string())
}

/// A file directly in the folder, whatever the title tries.
fn note_path(notes: &Path, title: &str) -> PathBuf {
    let name: String =
        title.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(60).collect();
    let name = name.trim_matches('-');
    notes.join(format!("{}.md", if name.is_empty() { "note" } else { name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_stays_in_its_folder() {
        let notes = Path::new("/data/notes");
        assert_eq!(note_path(notes, "../../etc/passwd"), notes.join("etc-passwd.md"));
        assert_eq!(note_path(notes, "/"), notes.join("note.md"));
        assert_eq!(note_path(notes, "Plan B"), notes.join("Plan-B.md"));
    }

    #[test]
    fn knows_the_time_in_a_zone() {
        assert!(current_time(Some("Europe/Paris")).unwrap().contains("T"));
        assert!(current_time(Some("Nowhere/Land")).is_err());
    }
}
