//! `parr template`: the exact prompt that a conversation becomes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::error::CliError;
use super::open::{TemplateArgs, no_tokenizer};
use super::output::write_row;
use super::terminal;
use parr::format::Checkpoint;
use parr::hub::{self, CATALOG};
use parr::model::text;
use parr::tokenizer::{Message, TokenId};

const LONG_ABOUT: &str = "\
Shows the exact prompt that a conversation becomes: the text that the model's
chat template writes, or the tokens that the model reads. This uses no GPU and
reads no weights.

The texts are the turns of the user and of the assistant, one after the other.";

const EXAMPLES: &str = "\
Examples:
  parr template 'Name a river.'
  parr template 'Name a river.' 'The Loire.' 'And its source?' --system 'Be brief.'
  parr template --ids 'Name a river.'
  parr template --model qwen3.gguf --template-variable enable_thinking=false 'Hi!'
  parr template --chat-template chatml --messages conversation.json --json

The file of --messages is a JSON list of objects with role and content.";

/// Show the prompt that a conversation becomes
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct TemplatePrintArgs {
    /// Turns, the user's first
    #[arg(value_name = "TEXT", required_unless_present = "messages", conflicts_with = "messages")]
    turns: Vec<String>,

    /// System message, before the first turn
    #[arg(long, value_name = "TEXT", conflicts_with = "messages")]
    system: Option<String>,

    /// JSON file with the messages
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,

    /// Model: a name from `parr pull`, a GGUF file or a Hugging Face directory
    #[arg(short, long, default_value = CATALOG[0].name)]
    model: String,

    #[command(flatten)]
    template: TemplateArgs,

    /// End after the last turn, and do not begin the assistant's next one
    #[arg(long)]
    no_reply: bool,

    /// Print a line with id and text for each token
    #[arg(long, conflicts_with = "json")]
    ids: bool,

    /// Print one JSON object with prompt, ids and tokens
    #[arg(long)]
    json: bool,
}

impl TemplatePrintArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CliError> {
        let checkpoint = Checkpoint::open(&hub::resolve(&self.model)?)?;
        let own = text::load(&checkpoint);
        let text = self.template.applied(&own)?.unwrap_or(own);
        let tokenizer = text.tokenizer().ok_or_else(no_tokenizer)?;
        text.check_chat()?;
        let chat = text.chat().ok_or_else(|| {
            CliError::Model("the model has no chat template: give one with --chat-template".to_owned())
        })?;
        for note in tokenizer.notes() {
            global.note(format!("note: {note}"));
        }
        let messages = self.conversation()?;
        let prompt = chat.template().render(&messages, !self.no_reply)?;
        let ids: Vec<TokenId> = chat.encode_chat(&messages, !self.no_reply)?;
        let tokens: Vec<String> = ids.iter().map(|&id| tokenizer.token_shown(id)).collect();
        if self.json {
            return write_row(&json!({ "prompt": prompt, "ids": ids, "tokens": tokens }));
        }
        let mut out = terminal::stdout();
        if self.ids {
            for (id, token) in ids.iter().zip(&tokens) {
                writeln!(out, "{id}\t{token:?}")?;
            }
            return Ok(());
        }
        write!(out, "{prompt}")?;
        out.flush()?;
        global.note(format!("{} tokens; --ids shows them", ids.len()));
        Ok(())
    }

    /// The messages of the file, or of the arguments.
    fn conversation(&self) -> Result<Vec<Message>, CliError> {
        if let Some(path) = &self.messages {
            return read(path);
        }
        let system = self.system.iter().map(|text| Message::new("system", text.as_str()));
        let turns = self.turns.iter().zip(["user", "assistant"].into_iter().cycle());
        Ok(system.chain(turns.map(|(text, role)| Message::new(role, text.as_str()))).collect())
    }
}

fn read(path: &Path) -> Result<Vec<Message>, CliError> {
    let bytes = fs::read(path).map_err(CliError::file(path))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        CliError::Usage(format!(
            "{} is no JSON list of objects with role and content: {error}",
            path.display()
        ))
    })
}
