//! One module for each format, and what several of them share. Adding a format: its module here, its line in the table of
//! `format.rs`, what tells it apart in `detect.rs`, a case in `tests/cases`.

mod ai_studio;
pub(crate) mod aider;
mod chatgpt;
pub(crate) mod cherry;
mod citations;
mod claude;
mod claude_code;
mod codex;
mod copilot_cli;
mod cursor;
mod details;
mod gemini_cli;
mod gemini_parts;
mod goose;
mod grok;
mod jan;
mod librechat;
mod llama_cpp;
mod lmstudio;
mod openai;
mod opencode;
mod openwebui;
mod qwen_code;
mod takeout;
mod threadkeep;
mod ui_messages;
mod vscode;
mod zed;

use crate::Format;
use crate::sink::Stop;
use crate::source::Input;
pub(crate) use threadkeep::raw_items;

/// Reads the files of a format.
pub(crate) fn read(format: Format, input: &mut Input<'_>) -> Result<(), Stop> {
    match format {
        Format::ChatGpt => chatgpt::read(input),
        Format::DeepSeek => chatgpt::read_deepseek(input),
        Format::Claude => claude::read(input),
        Format::Grok => grok::read(input),
        Format::GeminiTakeout => takeout::read(input),
        Format::AiStudio => ai_studio::read(input),
        Format::OpenWebUi => openwebui::read(input),
        Format::LibreChat => librechat::read(input),
        Format::Jan => jan::read(input),
        Format::CherryV1 => cherry::read(input),
        Format::CherryDirect => cherry::read_direct(input),
        Format::CherryV2 => cherry::read_v2(input),
        Format::LmStudio => lmstudio::read(input),
        Format::Zed => zed::read(input),
        Format::LlamaCpp => llama_cpp::read(input),
        Format::ClaudeCode => claude_code::read(input),
        Format::Codex => codex::read(input),
        Format::GeminiCli => gemini_cli::read(input),
        Format::QwenCode => qwen_code::read(input),
        Format::OpenCode => opencode::read(input),
        Format::Goose => goose::read(input),
        Format::Aider => aider::read(input),
        Format::VsCodeCopilot => vscode::read(input),
        Format::CopilotCli => copilot_cli::read(input),
        Format::Cursor => cursor::read(input),
        Format::AiSdk => ui_messages::read_ai_sdk(input),
        Format::TanStackAi => ui_messages::read_tanstack(input),
        Format::OpenAiJsonl => openai::read(input),
        Format::Threadkeep => threadkeep::read(input),
        Format::ThreadkeepJson => ui_messages::read_own(input),
    }
}
