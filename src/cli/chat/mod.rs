//! `parr chat`: a conversation in the terminal.

mod line;
mod steer;

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::json;

use super::GlobalArgs;
use super::error::CliError;
use super::interrupt::interruptible;
use super::open::{AdapterArgs, CacheArgs, ModelArgs, chat_format};
use super::sampling::SamplingArgs;
use super::steering::{SteeringArgs, scores};
use crate::generate::{Finish, Request};
use crate::model::Model;
use crate::steer::{Answer, Ask, Search, SteerEvent, SteeredModel, Steering, WatchedSet};
use crate::tokenizer::Conversation;
use line::{HELP, Line};

const LONG_ABOUT: &str = "\
Talks with an instruction-tuned model, turn by turn, in the terminal.

The reply appears as it is made; ctrl-C stops it and keeps what was said so far. Lines that start
with / are commands, /help lists them. When the conversation outgrows the context, its oldest turns
are dropped and a note says so.

--principles puts written principles into the system message; the file is read again before each reply,
so an edited line changes the next one. With --reward a reward model that reads the same principles
chooses among several replies (--best-of) or block by block (--guided); candidates differ by chance
alone, so give them a --temperature of 0.7 or more.

With a pipe as standard input every line is a message and only the replies are printed.";

const EXAMPLES: &str = "\
Examples:
  parr chat                                    SmolLM2, after `parr pull smollm2`
  parr chat ~/models/llama-3.2-1b.Q4_K_M.gguf
  parr chat --system 'Answer in one sentence.' --temperature 0
  parr chat --adapter runs/harbour             with what `parr sft` taught it
  parr chat --principles my-principles.toml    kept to while you edit them
  parr chat --principles honest --reward runs/reward --best-of 4 --temperature 0.8 --scores
  printf 'Hello!\\nAnd in French?\\n' | parr chat --quiet";

/// Talk with a model in the terminal
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ChatArgs {
    /// The model, as --model takes it
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    positional: Option<String>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// System message; without it the model's own default
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    #[command(flatten)]
    steering: SteeringArgs,

    #[command(flatten)]
    sampling: SamplingArgs,

    #[command(flatten)]
    cache: CacheArgs,
}

impl ChatArgs {
    pub(super) fn run(mut self, global: &GlobalArgs) -> Result<(), CliError> {
        if let Some(name) = self.positional.take() {
            self.model.model = name;
        }
        // Read first: a mistake in the principles should not wait for the model.
        let watched = self.steering.watch()?;
        let steering = self.steering.steering(watched.as_ref().map(WatchedSet::set))?;
        let (device, model) = self.model.open(global)?;
        chat_format(&model)?;
        let context = self.cache.context(&model);
        let mut chat = Chat {
            steered: self.steering.open(&model, &self.adapter, &self.cache, self.steering.candidates())?,
            steering,
            watched,
            conversation: Conversation::new(self.system.take()),
            sampling: self.sampling,
            context,
            last: None,
            global,
            model: &model,
        };
        if io::stdin().is_terminal() {
            global.note(format!(
                "{} on {}; /help lists commands",
                self.model.model,
                device.capabilities().adapter
            ));
            chat.run_terminal()
        } else {
            chat.run_pipe()
        }
    }
}

/// Whether the conversation goes on.
#[derive(PartialEq)]
enum Next {
    Line,
    End,
}

/// A reply and what it cost.
struct Measured {
    answer: Answer,
    first_token: Duration,
    whole: Duration,
}

struct Chat<'a> {
    model: &'a Model,
    steered: SteeredModel,
    steering: Steering,
    /// The file that the principles come from, if they come from one.
    watched: Option<WatchedSet>,
    conversation: Conversation,
    sampling: SamplingArgs,
    /// Tokens.
    context: usize,
    last: Option<Measured>,
    global: &'a GlobalArgs,
}

impl Chat<'_> {
    fn run_terminal(&mut self) -> Result<(), CliError> {
        let mut editor = DefaultEditor::new().map_err(io::Error::other)?;
        loop {
            match editor.readline("> ") {
                Ok(text) => {
                    // The history lives as long as the chat: what people say is not ours to keep on disk.
                    let _ = editor.add_history_entry(&text);
                    match self.take(Line::parse(&text)) {
                        Ok(Next::Line) => {}
                        Ok(Next::End) => return Ok(()),
                        Err(error @ CliError::Output(_)) => return Err(error),
                        // A person can mend what is wrong and go on; a script cannot.
                        Err(error) => {
                            error.report();
                        }
                    }
                }
                Err(ReadlineError::Interrupted) => self.global.note("ctrl-D or /quit leaves"),
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(io::Error::other(error).into()),
            }
        }
    }

    fn run_pipe(&mut self) -> Result<(), CliError> {
        for text in io::stdin().lock().lines() {
            let text =
                text.map_err(|source| CliError::Input { path: "standard input".to_owned(), source })?;
            if self.take(Line::parse(&text))? == Next::End {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, line: Line) -> Result<Next, CliError> {
        match line {
            Line::Empty => {}
            Line::Say(text) => {
                self.conversation.say("user", text);
                self.answer().inspect_err(|_| self.conversation.take_back_question())?;
            }
            Line::Help => eprintln!("{HELP}"),
            Line::Reset => self.conversation.reset(),
            Line::System(text) => self.conversation.set_system(text),
            Line::Set { name, value } => {
                if let Err(wrong) = self.sampling.set(&name, &value) {
                    eprintln!("{wrong}");
                }
            }
            Line::Save(path) => self.save(&path)?,
            Line::Regenerate if self.conversation.take_back_reply() => {
                self.sampling.seed = self.sampling.seed.wrapping_add(1);
                self.answer()?;
            }
            Line::Regenerate => eprintln!("there is no reply to replace yet"),
            Line::Stats => self.show_stats(),
            Line::Principles(name) => self.take_principles(name.as_deref()),
            Line::Scores(on) => self.search(|steering| steering.scores = on),
            Line::BestOf(n) => {
                self.search(|steering| steering.search = steer::with_candidates(steering.search, n));
            }
            Line::Quit => return Ok(Next::End),
            Line::Wrong(what) => eprintln!("{what}"),
        }
        Ok(Next::Line)
    }

    /// Streams the reply to what was said last; where it is chosen among several, once it is chosen.
    fn answer(&mut self) -> Result<(), CliError> {
        self.reload_principles();
        let format = chat_format(self.model)?;
        // Leave room for a reply: a quarter of the context if the longest one asked for is longer.
        let reserve = self.sampling.max_tokens.min(self.context / 4);
        let (prompt, dropped) = self.conversation.encode(self.context - reserve, |messages| {
            format.encode_chat(&self.steering.messages(messages), true)
        })?;
        if dropped > 0 {
            self.global
                .note(format!("the {dropped} oldest messages no longer fit into {} tokens", self.context));
        }
        let request = Request {
            prompt,
            adapter: self.steered.policy(),
            sampling: self.sampling.sampling(self.sampling.seed),
            max_tokens: self.sampling.max_tokens,
            stop: Vec::new(),
            stop_ids: format.end_of_turn().to_vec(),
        };
        let ask = Ask { request, question: self.conversation.question().to_owned() };
        let start = Instant::now();
        let mut first_token = None;
        let mut output = Ok(());
        let mut waiting = (self.steering.search != Search::Sample).then(|| Waiting::new(self.global));
        let answers = interruptible(|token| {
            self.steered.answer(&self.steering, &[ask], token, &mut |progress| {
                first_token.get_or_insert_with(|| start.elapsed());
                let SteerEvent::Text { text, .. } = progress else {
                    return waiting.iter_mut().for_each(|waiting| waiting.hear(&progress));
                };
                // A line that is being written and a bar cannot share a terminal.
                waiting.take().into_iter().for_each(Waiting::end);
                let mut out = io::stdout().lock();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                if written.is_err() {
                    token.cancel();
                    output = written;
                }
            })
        });
        waiting.take().into_iter().for_each(Waiting::end);
        let whole = start.elapsed();
        output?;
        let answer = answers?.swap_remove(0);
        println!();
        match answer.reply.finish {
            Finish::Cancelled => self.global.note("(stopped)"),
            Finish::Length | Finish::ContextFull => {
                self.global.note(format!("(cut off after {} tokens)", answer.reply.tokens.len()));
            }
            _ if self.steering.search != Search::Sample && answer.score().is_none() => {
                self.global.note("(kept without a score)");
            }
            _ => {}
        }
        if self.steering.scores {
            eprintln!("{}", scores(&self.steering, &answer));
        }
        self.conversation.say("assistant", answer.reply.text.trim_end());
        self.last = Some(Measured { answer, first_token: first_token.unwrap_or(whole), whole });
        Ok(())
    }

    fn save(&self, path: &Path) -> Result<(), CliError> {
        let messages: Vec<_> = self
            .conversation
            .messages()
            .into_iter()
            .map(|message| json!({ "role": message.role, "content": message.content }))
            .collect();
        fs::write(path, format!("{}\n", json!({ "messages": messages })))?;
        self.global.note(format!("saved to {}", path.display()));
        Ok(())
    }

    fn show_stats(&self) {
        let Some(Measured { answer, first_token, whole }) = &self.last else {
            return eprintln!("there is no reply to measure yet");
        };
        let (reply, cost) = (&answer.reply, answer.cost);
        let tokens = reply.tokens.len();
        let decoding = (*whole - *first_token).as_secs_f64();
        eprintln!(
            "prompt {} tokens ({} reused), first token after {:.2} s",
            reply.prompt_tokens,
            reply.reused_tokens,
            first_token.as_secs_f64()
        );
        if tokens > 1 && decoding > 0.0 {
            eprintln!("reply {tokens} tokens, {:.1} tok/s", (tokens - 1) as f64 / decoding);
        }
        if cost.generated_tokens > tokens || cost.scored_tokens > 0 {
            eprintln!(
                "{} tokens drawn in all, {} read for scores",
                cost.generated_tokens, cost.scored_tokens
            );
        }
        eprintln!("context {} of {} tokens", reply.prompt_tokens + tokens, self.context);
    }
}

/// What a person sees while nothing of the reply is certain yet.
struct Waiting {
    bar: ProgressBar,
    drawn: usize,
}

impl Waiting {
    fn new(global: &GlobalArgs) -> Waiting {
        Waiting { bar: global.bar(None, "{spinner} {msg}"), drawn: 0 }
    }

    fn hear(&mut self, progress: &SteerEvent<'_>) {
        match progress {
            SteerEvent::Drawn => {
                self.drawn += 1;
                self.bar.set_message(format!("{} tokens drawn", self.drawn));
            }
            SteerEvent::Scored { done, of } => {
                self.bar.set_message(format!("{} tokens drawn, {done} of {of} scores read", self.drawn));
            }
            SteerEvent::Text { .. } => {}
        }
        self.bar.tick();
    }

    fn end(self) {
        self.bar.finish_and_clear();
    }
}
