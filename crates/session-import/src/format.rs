//! The formats by name.

/// Whose conversations they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is named by its label")]
pub enum Format {
    ChatGpt,
    DeepSeek,
    Claude,
    Grok,
    GeminiTakeout,
    AiStudio,
    OpenWebUi,
    LibreChat,
    Jan,
    CherryV1,
    CherryDirect,
    CherryV2,
    LmStudio,
    Zed,
    LlamaCpp,
    ClaudeCode,
    Codex,
    GeminiCli,
    QwenCode,
    OpenCode,
    Goose,
    Aider,
    VsCodeCopilot,
    CopilotCli,
    Cursor,
    AiSdk,
    TanStackAi,
    OpenAiJsonl,
    Threadkeep,
    ThreadkeepJson,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 30] = [
        Self::ChatGpt,
        Self::DeepSeek,
        Self::Claude,
        Self::Grok,
        Self::GeminiTakeout,
        Self::AiStudio,
        Self::OpenWebUi,
        Self::LibreChat,
        Self::Jan,
        Self::CherryV1,
        Self::CherryDirect,
        Self::CherryV2,
        Self::LmStudio,
        Self::Zed,
        Self::LlamaCpp,
        Self::ClaudeCode,
        Self::Codex,
        Self::GeminiCli,
        Self::QwenCode,
        Self::OpenCode,
        Self::Goose,
        Self::Aider,
        Self::VsCodeCopilot,
        Self::CopilotCli,
        Self::Cursor,
        Self::AiSdk,
        Self::TanStackAi,
        Self::OpenAiJsonl,
        Self::Threadkeep,
        Self::ThreadkeepJson,
    ];

    /// The name for programs. Keys of sessions are made of it, so it never changes.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// The name for people.
    pub fn label(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ChatGpt => ("chatgpt", "ChatGPT"),
            Self::DeepSeek => ("deepseek", "DeepSeek"),
            Self::Claude => ("claude", "Claude"),
            Self::Grok => ("grok", "Grok"),
            Self::GeminiTakeout => ("gemini-takeout", "Gemini"),
            Self::AiStudio => ("ai-studio", "Google AI Studio"),
            Self::OpenWebUi => ("openwebui", "Open WebUI"),
            Self::LibreChat => ("librechat", "LibreChat"),
            Self::Jan => ("jan", "Jan"),
            Self::CherryV1 => ("cherry-v1", "Cherry Studio"),
            Self::CherryDirect => ("cherry-direct", "Cherry Studio (direct backup)"),
            Self::CherryV2 => ("cherry-v2", "Cherry Studio 2"),
            Self::LmStudio => ("lmstudio", "LM Studio"),
            Self::Zed => ("zed", "Zed"),
            Self::LlamaCpp => ("llama-cpp", "llama.cpp"),
            Self::ClaudeCode => ("claude-code", "Claude Code"),
            Self::Codex => ("codex", "Codex"),
            Self::GeminiCli => ("gemini-cli", "Gemini CLI"),
            Self::QwenCode => ("qwen-code", "Qwen Code"),
            Self::OpenCode => ("opencode", "OpenCode"),
            Self::Goose => ("goose", "Goose"),
            Self::Aider => ("aider", "Aider"),
            Self::VsCodeCopilot => ("vscode-copilot", "Copilot in VS Code"),
            Self::CopilotCli => ("copilot-cli", "Copilot CLI"),
            Self::Cursor => ("cursor", "Cursor"),
            Self::AiSdk => ("ai-sdk", "AI SDK"),
            Self::TanStackAi => ("tanstack-ai", "TanStack AI"),
            Self::OpenAiJsonl => ("openai-jsonl", "OpenAI JSONL"),
            Self::Threadkeep => ("threadkeep", "Threadkeep"),
            Self::ThreadkeepJson => ("threadkeep.session/1", "Threadkeep (JSON)"),
        }
    }
}
