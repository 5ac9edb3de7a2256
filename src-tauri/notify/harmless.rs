//! Which requests may be decided from a notification, which shows no arguments: those of tools that
//! only read.
//!
//! The page judges by the same words (`ui/src/components/risk.ts`). Both the name and the arguments
//! are the agent's to choose: this keeps a person from deciding in passing, and decides nothing.

use serde_json::Value;

/// Words in names of tools that do more than read.
const ACTING: &str = "delete remove rm rmdir unlink drop destroy purge wipe erase truncate publish deploy release send pay \
    purchase buy order transfer merge push revoke format reset kill terminate shutdown cancel email sms tweet post run exec \
    execute shell bash sh command terminal spawn eval script python node fetch http https request download upload browse \
    browser navigate curl wget crawl scrape web url webhook call write edit create update patch apply rename move mv copy cp \
    mkdir set insert append add save commit install replace put touch modify change str";
/// Words in names of tools that read.
const READING: &str = "read get list ls search grep find view show cat stat head tail glob query describe status clock count \
    lookup inspect check diff log tree time now whoami select";
/// Arguments by which a tool may do anything, whatever it is called.
const TELLING: [&str; 10] =
    ["command", "cmd", "script", "shell", "method", "verb", "url", "uri", "endpoint", "href"];

/// Whether a call seems to read and nothing else. What is not known is not harmless.
pub(super) fn is_harmless(tool: &str, input: Option<&Value>) -> bool {
    let words = words(tool);
    let any = |list: &str| words.iter().any(|word| list.split_whitespace().any(|one| one == word));
    let told = match input {
        None | Some(Value::Null) => false,
        Some(Value::Object(fields)) => {
            fields.keys().any(|name| TELLING.contains(&name.to_ascii_lowercase().as_str()))
        }
        Some(_) => true,
    };
    any(READING) && !any(ACTING) && !told
}

/// The words of a name: `readFile`, `fs.read_file` and `read-file` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let begins =
            c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit());
        if begins || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if c.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_known_to_read_is_harmless() {
        for (tool, input, harmless) in [
            ("read_file", json!({"path": "/etc/hosts"}), true),
            ("readFile", json!({}), true),
            ("fs.list-dir", Value::Null, true),
            ("clock", json!({"zone": "UTC"}), true),
            ("delete_file", json!({"path": "x"}), false),
            ("read_and_delete", json!({}), false),
            ("getUrl", json!({}), false),
            ("search", json!({"URL": "https://evil.test"}), false),
            ("find", json!({"command": "rm -rf /"}), false),
            ("get", json!("anything"), false),
            ("frobnicate", json!({}), false),
            ("", json!({}), false),
            ("readdelete", json!({}), false),
            ("прочитать", json!({}), false),
        ] {
            assert_eq!(is_harmless(tool, Some(&input)), harmless, "{tool} {input}");
        }
    }
}
