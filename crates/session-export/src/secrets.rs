//! Secrets in a text: tokens, keys and passwords by the shapes that their makers give them.
//!
//! What has a maker's shape is hidden; a value that is only random and stands beside a name like `token` is told. A shape
//! is looked for only where something of it is in the text, and a text is looked at whole. It is best effort: a secret
//! without a shape is not found.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::Regex;
use serde_json::Value;

/// Bits for each character that a random value has at least.
const ENTROPY: f64 = 3.5;

/// One kind of secret.
struct Kind {
    name: &'static str,
    /// What is in every text that holds one.
    anchors: &'static [&'static str],
    pattern: &'static str,
    /// It is told and not hidden.
    candidate: bool,
}

const fn kind(name: &'static str, anchors: &'static [&'static str], pattern: &'static str) -> Kind {
    Kind { name, anchors, pattern, candidate: false }
}

/// The kinds. Group 1 is the secret where there is one, else the whole match is.
const KINDS: &[Kind] = &[
    kind(
        "a private key",
        &["PRIVATE KEY-----"],
        r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
    ),
    kind("an Anthropic key", &["sk-ant-"], r"\bsk-ant-[A-Za-z0-9_-]{19,}"),
    kind(
        "an OpenAI key",
        &["sk-proj-", "sk-svcacct-", "sk-admin-"],
        r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}",
    ),
    kind("an OpenAI key", &["T3BlbkFJ"], r"\bsk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}\b"),
    kind("an OpenRouter key", &["sk-or-v1-"], r"\bsk-or-v1-[0-9a-f]{64}\b"),
    kind("a Groq key", &["gsk_"], r"\bgsk_[A-Za-z0-9]{52}\b"),
    kind("an xAI key", &["xai-"], r"\bxai-[A-Za-z0-9]{80}\b"),
    kind("a Perplexity key", &["pplx-"], r"\bpplx-[A-Za-z0-9]{48,56}\b"),
    kind("a Replicate token", &["r8_"], r"\br8_[A-Za-z0-9]{37,40}\b"),
    kind("a Google key", &["AIza"], r"\bAIza[A-Za-z0-9_-]{35}"),
    kind("a Google token", &["ya29."], r"\bya29\.[A-Za-z0-9_-]{20,}"),
    kind("a Google client secret", &["GOCSPX-"], r"\bGOCSPX-[A-Za-z0-9_-]{28}"),
    kind(
        "an AWS key",
        &["AKIA", "ASIA", "ABIA", "ACCA"],
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    ),
    kind(
        "an AWS secret",
        &["aws_secret", "AWS_SECRET", "awsSecret", "SecretAccessKey", "secretAccessKey"],
        r#"(?i)(?:aws_?secret\w*|secretaccesskey)["']?\s*[:=]\s*["']?([A-Za-z0-9/+=]{40})"#,
    ),
    kind(
        "a GitHub token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        r"\bgh[pousr]_[A-Za-z0-9]{36,}",
    ),
    kind("a GitHub token", &["github_pat_"], r"\bgithub_pat_[A-Za-z0-9_]{40,}"),
    kind(
        "a GitLab token",
        &["glpat-", "gldt-", "glrt-", "glptt-"],
        r"\bgl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{20,}",
    ),
    kind("a Hugging Face token", &["hf_"], r"\bhf_[A-Za-z0-9]{30,}"),
    kind("an npm token", &["npm_"], r"\bnpm_[A-Za-z0-9]{36}\b"),
    kind("a PyPI token", &["pypi-AgEIcHlwaS5vcmc"], r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}"),
    kind("a crates.io token", &["cio"], r"\bcio[A-Za-z0-9]{32}\b"),
    kind(
        "a Slack token",
        &["xox", "xapp-"],
        r"\b(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,})",
    ),
    kind(
        "a Slack webhook",
        &["hooks.slack.com/services/"],
        r"hooks\.slack\.com/services/([A-Za-z0-9/_-]{20,})",
    ),
    kind(
        "a Discord token",
        &["discord", "Discord", "DISCORD"],
        r"(?s)(?i:discord).{0,80}?\b([A-Za-z0-9_-]{24,28}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38})",
    ),
    kind("a Telegram token", &[":AA"], r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    kind(
        "a Stripe key",
        &["sk_live_", "rk_live_", "sk_test_", "whsec_"],
        r"\b(?:sk_live_|rk_live_|sk_test_|whsec_)[A-Za-z0-9]{16,}",
    ),
    kind("a SendGrid key", &["SG."], r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    kind("a Twilio key", &["SK", "AC"], r"\b(?:SK|AC)[0-9a-f]{32}\b"),
    kind(
        "a Shopify token",
        &["shpat_", "shpss_", "shpca_"],
        r"\bshp(?:at|ss|ca)_[0-9a-fA-F]{32}\b",
    ),
    kind("a DigitalOcean token", &["dop_v1_"], r"\bdop_v1_[0-9a-f]{64}\b"),
    kind("a Databricks token", &["dapi"], r"\bdapi[0-9a-f]{32}\b"),
    kind("a Vault token", &["hvs."], r"\bhvs\.[A-Za-z0-9_-]{24,}"),
    kind("an Azure key", &["AccountKey="], r"AccountKey=([A-Za-z0-9+/]{86}==)"),
    kind("an age key", &["AGE-SECRET-KEY-1"], r"\bAGE-SECRET-KEY-1[A-Z0-9]{58}\b"),
    kind("an npm token", &["_authToken"], r#"_authToken\s*=\s*["']?([A-Za-z0-9_./+=-]{16,})"#),
    kind("a Threadkeep token", &["tk_"], r"\btk_[A-Za-z0-9_-]{16,}"),
    kind(
        "a signed token",
        &["eyJ"],
        r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    ),
    kind(
        "a password in an address",
        &["://"],
        r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s/:@]{1,128}:([^\s/@]{3,256})@",
    ),
    kind(
        "an authorization",
        &["uthorization", "AUTHORIZATION"],
        r#"(?i)authorization["']?\s*[:=]\s*["']?(?:bearer|basic|token)\s+([A-Za-z0-9._~+/=-]{12,})"#,
    ),
    kind("a cookie", &["ookie"], r"(?i)\b(?:set-)?cookie:\s*([^\r\n]{16,})"),
    Kind {
        name: "a value that may be a secret",
        anchors: &["key", "KEY", "Key", "ecret", "SECRET", "oken", "TOKEN", "assw", "PASSW"],
        pattern: r#"(?i)\b\w*(?:key|secret|token|passw(?:or)?d)\w*["']?\s*[:=]\s*["']?([A-Za-z0-9_./+=-]{20,256})"#,
        candidate: true,
    },
];

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let pattern = |kind: &Kind| Regex::new(kind.pattern).expect("the patterns are right");
    KINDS.iter().map(pattern).collect()
});

/// All anchors in one machine, and the kind of each.
static ANCHORS: LazyLock<(AhoCorasick, Vec<usize>)> = LazyLock::new(|| {
    let all = KINDS
        .iter()
        .enumerate()
        .flat_map(|(at, kind)| kind.anchors.iter().map(move |text| (*text, at)));
    let (anchors, kinds): (Vec<&str>, Vec<usize>) = all.unzip();
    (AhoCorasick::new(anchors).expect("the anchors are right"), kinds)
});

/// A secret in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Where it is, in bytes.
    pub range: Range<usize>,
    /// What it is.
    pub kind: &'static str,
    /// It is hidden unless that is not wanted; others are only told.
    pub definite: bool,
}

/// The secrets in a text, in order and without overlaps.
pub fn find(text: &str) -> Vec<Secret> {
    let (machine, kinds) = &*ANCHORS;
    let mut wanted = vec![false; KINDS.len()];
    for found in machine.find_overlapping_iter(text) {
        wanted[kinds[found.pattern().as_usize()]] = true;
    }
    let mut all: Vec<Secret> = Vec::new();
    for (at, kind) in KINDS.iter().enumerate().filter(|(at, _)| wanted[*at]) {
        for found in PATTERNS[at].captures_iter(text) {
            let Some(whole) = found.get(1).or_else(|| found.get(0)) else { continue };
            let random = !kind.candidate || entropy(whole.as_str()) >= ENTROPY;
            if random && !is_placeholder(whole.as_str()) {
                all.push(Secret {
                    range: whole.range(),
                    kind: kind.name,
                    definite: !kind.candidate,
                });
            }
        }
    }
    all.sort_by_key(|secret| (!secret.definite, secret.range.start));
    let mut kept: Vec<Secret> = Vec::new();
    for secret in all {
        let overlaps = |known: &&mut Secret| {
            known.range.start < secret.range.end && secret.range.start < known.range.end
        };
        match kept.iter_mut().find(overlaps) {
            Some(known) if secret.definite => {
                known.range.start = known.range.start.min(secret.range.start);
                known.range.end = known.range.end.max(secret.range.end);
            }
            Some(_) => {}
            None => kept.push(secret),
        }
    }
    kept.sort_by_key(|secret| secret.range.start);
    kept
}

fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    #[expect(clippy::cast_precision_loss, reason = "a token is short")]
    let length = text.len() as f64;
    let share = |count: &u32| {
        let share = f64::from(*count) / length;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(share).sum()
}

/// What stands in documents for a secret.
fn is_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let words =
        ["example", "xxxx", "your", "placeholder", "changeme", "redacted", "…", "...", "<", "${"];
    let body = text.rsplit(['-', '_']).next().unwrap_or(text);
    let first = body.bytes().next();
    let repeats = body.len() >= 8 && body.bytes().all(|byte| Some(byte) == first);
    repeats || words.iter().any(|word| lower.contains(word))
}

/// A secret as it is shown: how it begins and its last four characters.
pub fn shown(secret: &str) -> String {
    if secret.starts_with("-----BEGIN") {
        return "-----BEGIN PRIVATE KEY----- …".to_owned();
    }
    let prefix = secret.find(['-', '_', '.']).filter(|at| *at < 8).map_or(0, |at| at + 1);
    let count = secret.chars().count();
    let end: String =
        if count > 12 { secret.chars().skip(count - 4).collect() } else { String::new() };
    format!("{}…{end}", &secret[..prefix])
}

/// The text with secrets hidden: those of which `hides` says so, which is given each that was found and the text that it
/// stands in. `None` when there is none.
pub fn hidden(text: &str, hides: &mut dyn FnMut(&Secret, &str) -> bool) -> Option<String> {
    let found = find(text);
    let (mut out, mut from) = (String::new(), 0);
    for secret in &found {
        let own = &text[secret.range.clone()];
        if hides(secret, text) {
            out.push_str(&text[from..secret.range.start]);
            out.push_str(&shown(own));
            from = secret.range.end;
        }
    }
    if from == 0 {
        return None;
    }
    out.push_str(&text[from..]);
    Some(out)
}

/// Hides secrets as [`hidden`] does in every string of a value, also in names of fields and in JSON inside strings.
pub fn hide(value: &mut Value, hides: &mut dyn FnMut(&Secret, &str) -> bool) {
    match value {
        Value::String(text) => {
            if let Some(hidden) = hidden(text, hides) {
                *text = hidden;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, hides)),
        Value::Object(fields) => {
            if fields.keys().any(|name| !find(name).is_empty()) {
                let own = std::mem::take(fields);
                fields.extend(
                    own.into_iter()
                        .map(|(name, value)| (hidden(&name, hides).unwrap_or(name), value)),
                );
            }
            for (name, value) in fields.iter_mut() {
                // A name beside its value is what tells some secrets.
                if let Value::String(text) = value
                    && find(text).is_empty()
                {
                    let pair = format!("{name}={text}");
                    for secret in find(&pair) {
                        if secret.range.start > name.len() && hides(&secret, &pair) {
                            *text = shown(&pair[secret.range.clone()]);
                            break;
                        }
                    }
                }
                hide(value, hides);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn random(alphabet: &str, count: usize, mut seed: u32) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            letters[(seed >> 8) as usize % letters.len()]
        };
        (0..count).map(|_| next()).collect()
    }

    const B62: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const HEX: &str = "0123456789abcdef";

    /// A secret of every shape, made here so that no scanner takes this file for a leak.
    fn samples() -> Vec<String> {
        let b62 = |prefix: &str, count| format!("{prefix}{}", random(B62, count, 7));
        let hex = |prefix: &str, count| format!("{prefix}{}", random(HEX, count, 9));
        vec![
            b62("sk-ant-api03-", 90),
            b62("sk-proj-", 60),
            format!("sk-{}T3BlbkFJ{}", random(B62, 20, 1), random(B62, 20, 2)),
            hex("sk-or-v1-", 64),
            b62("gsk_", 52),
            b62("xai-", 80),
            b62("pplx-", 50),
            b62("r8_", 37),
            b62("AIza", 35),
            b62("ya29.", 60),
            b62("GOCSPX-", 28),
            format!("AKIA{}", random("ABCDEFGHIJKLMNOP234567", 16, 3)),
            b62("ghp_", 36),
            b62("github_pat_", 82),
            b62("glpat-", 20),
            b62("hf_", 34),
            b62("npm_", 36),
            b62("pypi-AgEIcHlwaS5vcmc", 60),
            b62("cio", 32),
            b62("xoxb-", 40),
            b62("sk_live_", 24),
            format!("SG.{}.{}", random(B62, 22, 4), random(B62, 43, 5)),
            hex("SK", 32),
            hex("shpat_", 32),
            hex("dop_v1_", 64),
            hex("dapi", 32),
            b62("hvs.", 24),
            b62("tk_", 32),
            format!("eyJ{}.eyJ{}.{}", random(B62, 20, 6), random(B62, 40, 7), random(B62, 43, 8)),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n", random(B62, 200, 9)),
        ]
    }

    /// Hides what is definite.
    fn definite(secret: &Secret, _: &str) -> bool {
        secret.definite
    }

    #[test]
    fn a_secret_is_hidden_wherever_it_stands() {
        for secret in samples() {
            for text in [
                secret.clone(),
                format!("curl -H 'x: {secret}'"),
                format!("```sh\nexport KEY={secret}\n```"),
                format!("+const k = \"{secret}\";"),
                format!("https://x.example/?key={secret}"),
            ] {
                let hidden =
                    hidden(&text, &mut definite).unwrap_or_else(|| panic!("not found: {text}"));
                let inner: String = secret.chars().skip(secret.len() / 2).take(8).collect();
                assert!(!hidden.contains(&inner), "{hidden}");
            }
            let mut value = json!({"a": [{"b": secret.clone()}], secret.clone(): 1});
            hide(&mut value, &mut definite);
            assert!(!value.to_string().contains(&secret), "{value}");
        }
    }

    #[test]
    fn what_stands_beside_a_name_is_found() {
        let secret = random(B62, 40, 11);
        for text in [
            format!("postgres://app:{secret}@db.example/x"),
            format!("Authorization: Bearer {secret}"),
            format!("aws_secret_access_key = {secret}"),
            format!("//registry.example/:_authToken={secret}"),
            format!("Cookie: session={secret}"),
        ] {
            let hidden =
                hidden(&text, &mut definite).unwrap_or_else(|| panic!("not found: {text}"));
            assert!(!hidden.contains(&secret), "{hidden}");
        }
        let candidates = find(&format!("api_token: {secret}"));
        assert_eq!(candidates.iter().map(|secret| secret.definite).collect::<Vec<_>>(), [false]);
    }

    #[test]
    fn what_is_no_secret_is_left() {
        for text in [
            "sk-ant-xxxxxxxxxxxxxxxxxxxxxxxx",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_000000000000000000000000000000000000",
            "the sketch sk-antenna was long",
            "commit 1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d",
            "https://user@host.example/path:80",
            "npm_config_registry=https://registry.example",
        ] {
            let secrets: Vec<Secret> =
                find(text).into_iter().filter(|secret| secret.definite).collect();
            assert_eq!(secrets, [], "{text}");
        }
        assert_eq!(shown("ghp_abcdefghijklmnopqrstuvwxyz0123456789"), "ghp_…6789");
    }
}
