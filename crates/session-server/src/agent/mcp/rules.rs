//! Decisions of people about tools: ask, allow, never.

use mcp::Tool;

use super::table::{Decision, StoredRule};
use crate::config::ToolServer;

/// A digest of all that a person who allows a tool relies on.
pub(crate) fn digest(tool: &Tool) -> String {
    blake3::hash(tool.identity().as_bytes()).to_hex()[..32].to_owned()
}

/// The rule that holds for a tool. Never wins wherever it is said; then what is said in the session counts, then for
/// all, and then that a trusted server says that the tool only looks.
pub(super) fn decide(
    rules: &[StoredRule],
    server: &ToolServer,
    tool: &Tool,
    digest: &str,
) -> Decision {
    let about = || rules.iter().filter(|rule| rule.server == server.name && rule.tool == tool.name);
    if about().any(|rule| rule.decision == Decision::Never) {
        return Decision::Never;
    }
    let rule = about().find(|rule| rule.session_id.is_some()).or_else(|| about().next());
    match rule {
        Some(rule) if rule.decision == Decision::Allow && rule.digest != digest => {
            Decision::Changed
        }
        Some(rule) => rule.decision,
        None if server.is_trusted && tool.traits.read_only => Decision::Allow,
        None => Decision::Ask,
    }
}

#[cfg(test)]
mod tests {
    use mcp::Traits;
    use serde_json::json;

    use super::*;
    use crate::config::ToolServerTarget;

    #[test]
    fn a_rule_holds_where_it_was_made_and_for_the_tool_that_it_was_made_for() {
        let server = |is_trusted| ToolServer {
            name: "s".into(),
            target: ToolServerTarget::Address {
                url: "http://x/".parse().unwrap(),
                headers: Vec::new(),
            },
            is_trusted,
            is_on: true,
        };
        let tool = |read_only| Tool {
            name: "t".into(),
            title: None,
            description: String::new(),
            input_schema: json!({}),
            traits: Traits { read_only, ..Traits::default() },
        };
        let rule = |session: Option<&str>, decision, digest: &str| StoredRule {
            id: 1,
            server: "s".into(),
            tool: "t".into(),
            session_id: session.map(str::to_owned),
            decision,
            digest: digest.into(),
            set_by: "ann".into(),
            set_at: String::new(),
        };
        use Decision::{Allow, Ask, Changed, Never};
        for (rules, trusted, read_only, wanted) in [
            (vec![], false, true, Ask),
            (vec![], true, false, Ask),
            (vec![], true, true, Allow),
            (vec![rule(None, Ask, "d")], true, true, Ask),
            (vec![rule(Some("x"), Allow, "d")], false, false, Allow),
            (vec![rule(Some("x"), Allow, "other")], true, true, Changed),
            (vec![rule(None, Allow, "d"), rule(Some("x"), Ask, "d")], false, false, Ask),
            (vec![rule(None, Never, "other"), rule(Some("x"), Allow, "d")], true, true, Never),
        ] {
            assert_eq!(
                decide(&rules, &server(trusted), &tool(read_only), "d"),
                wanted,
                "{rules:?}"
            );
        }
        let mut other = rule(Some("x"), Allow, "d");
        other.tool = "u".into();
        assert_eq!(decide(&[other], &server(false), &tool(false), "d"), Ask);
    }
}
