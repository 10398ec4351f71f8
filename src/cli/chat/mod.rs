//! `parr chat`: a conversation in the terminal.

mod line;
mod steer;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::GlobalArgs;
use super::error::CliError;
use super::input::Lines;
use super::interrupt::interruptible;
use super::open::{AdapterArgs, CacheArgs, ModelArgs};
use super::sampling::SamplingArgs;
use super::steering::{SteeringArgs, scores, why};
use super::terminal;
use line::{HELP, Line};
use parr::chat::{ChatError, ChatReply, ChatSession};
use parr::generate::Finish;
use parr::steer::{Search, SteerEvent, WatchedSet};

const LONG_ABOUT: &str = "\
Chats with an instruction-tuned model in the terminal, turn by turn.

The reply is printed while it is generated. Ctrl-C stops it and keeps the text
so far. Lines that start with / are commands; /help lists them. If the
conversation outgrows the context, its oldest turns are dropped, with a note.

--principles puts written principles into the system message. The file is read
again before each reply, so an edit changes the next reply. With --reward, a
reward model reads the same principles and chooses among several replies
(--best-of) or block by block (--guided). The candidates differ only by
sampling, so set a --temperature of 0.7 or more.

If standard input is a pipe, each line is a message and only the replies are
printed.";

const EXAMPLES: &str = "\
Examples:
  parr chat                                    the model smollm2
  parr chat ~/models/llama-3.2-1b.Q4_K_M.gguf
  parr chat --system 'Answer in one sentence.' --temperature 0
  parr chat --adapter runs/harbour             with an adapter from `parr sft`
  parr chat --principles my-principles.toml    edit the file during the chat
  parr chat --principles honest --reward runs/reward --best-of 4 \\
      --temperature 0.8 --scores
  printf 'Hello!\\nAnd in French?\\n' | parr chat --quiet";

/// Chat with a model in the terminal
#[derive(Args)]
#[command(long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
pub(super) struct ChatArgs {
    /// Model, the same as --model
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    positional: Option<String>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    adapter: AdapterArgs,

    /// System message [default: the model's own]
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
        // Read first, to report a mistake in the principles before the model is loaded.
        let watched = self.steering.watch()?;
        let steering = self.steering.steering(watched.as_ref().map(WatchedSet::set))?;
        let (device, model) = self.model.open(global)?;
        let mut builder = self.cache.apply(model.chat());
        builder = builder.steering(steering).options(self.sampling.reply());
        if let Some(text) = self.system.take() {
            builder = builder.system(text);
        }
        if let Some(path) = self.adapter.path() {
            builder = builder.adapter(path);
        }
        if self.adapter.any_base {
            builder = builder.any_base();
        }
        if let Some(name) = &self.steering.principles {
            builder = builder.principles(name.as_str());
        }
        if let Some(folder) = self.steering.reward() {
            builder = builder.reward(folder);
        }
        let mut chat = Chat { session: builder.start()?, sampling: self.sampling, global };
        if io::stdin().is_terminal() {
            global.note(format!(
                "{} on {}; /help lists commands",
                self.model.model,
                device.capabilities().adapter
            ));
            chat.introduce_principles();
            chat.run_terminal()
        } else {
            chat.run_pipe()
        }
    }
}

/// Nobody types a line in this time.
const PASTED: Duration = Duration::from_millis(20);

/// Whether there is another line to read.
#[derive(PartialEq)]
enum Next {
    Line,
    End,
}

struct Chat<'a> {
    session: ChatSession,
    sampling: SamplingArgs,
    global: &'a GlobalArgs,
}

impl Chat<'_> {
    fn run_terminal(&mut self) -> Result<(), CliError> {
        let mut editor = DefaultEditor::new().map_err(io::Error::other)?;
        let mut broken: Option<Instant> = None;
        loop {
            let line = editor.readline("> ");
            // The rest of a broken line that was pasted is already there.
            let rest = broken.take().is_some_and(|since| since.elapsed() < PASTED);
            match line {
                Ok(text) if rest => {
                    terminal::say(format_args!("the rest of that line was not sent: {text}"));
                }
                Ok(text) => {
                    // The history ends with the chat: private messages are not written to disk.
                    let _ = editor.add_history_entry(&text);
                    match self.take(Line::parse(&text)) {
                        Ok(Next::Line) => {}
                        Ok(Next::End) => return Ok(()),
                        Err(error @ CliError::Output(_)) => return Err(error),
                        // A user can correct the mistake and continue; a script cannot.
                        Err(error) => {
                            error.report();
                        }
                    }
                }
                Err(ReadlineError::Interrupted) => self.global.note("use ctrl-D or /quit to leave"),
                Err(ReadlineError::Eof) => return Ok(()),
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    terminal::say("that was not UTF-8, so it was not sent");
                    broken = Some(Instant::now());
                }
                Err(error) => return Err(io::Error::other(error).into()),
            }
        }
    }

    fn run_pipe(&mut self) -> Result<(), CliError> {
        let mut lines = Lines::new(io::stdin().lock());
        let unreadable = |source| CliError::Input { path: "standard input".to_owned(), source };
        while let Some((line, text)) = lines.next().map_err(unreadable)? {
            match text {
                Ok(text) if self.take(Line::parse(text))? == Next::End => break,
                Ok(_) => {}
                Err(reason) => {
                    terminal::say(format_args!("line {line} of standard input was not sent: {reason}"));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, line: Line) -> Result<Next, CliError> {
        match line {
            Line::Empty => {}
            Line::Say(text) => self.answer(Some(text))?,
            Line::Help => terminal::say(HELP),
            Line::Reset => self.session.conversation().reset(),
            Line::System(text) => self.session.conversation().set_system(text),
            Line::Set { name, value } => {
                // A regenerated reply has changed the seed.
                self.sampling.seed = self.session.options().sampling.seed;
                match self.sampling.set(&name, &value) {
                    Ok(()) => self.session.set_options(self.sampling.reply()),
                    Err(wrong) => terminal::say(wrong),
                }
            }
            Line::Save(path) => self.save(&path)?,
            Line::Regenerate => match self.answer(None) {
                Err(CliError::Library(error)) if is_nothing_to_replace(&error) => terminal::say(error),
                done => done?,
            },
            Line::Stats => self.show_stats(),
            Line::Why => match self.session.last_reply() {
                Some(reply) => terminal::say(why(self.session.steering(), &reply.answer)),
                None => terminal::say("no reply so far"),
            },
            Line::Principles(name) => self.take_principles(name.as_deref()),
            Line::Scores(on) => self.search(|steering| steering.scores = on),
            Line::BestOf(n) => {
                self.search(|steering| steering.search = steer::with_candidates(steering.search, n));
            }
            Line::Quit => return Ok(Next::End),
            Line::Wrong(what) => terminal::say(what),
        }
        Ok(Next::Line)
    }

    /// Streams the reply to `text`, or another reply to the last message. A reply that is chosen among
    /// several is printed after the choice.
    fn answer(&mut self, text: Option<String>) -> Result<(), CliError> {
        self.reload_principles();
        let chooses = self.session.steering().search != Search::Sample;
        let mut waiting = chooses.then(|| Waiting::new(self.global));
        let mut output = Ok(());
        let quiet = self.global.quiet;
        let mut thinking = false;
        let reply = interruptible(|token| {
            let mut on_event = |event: SteerEvent<'_>| {
                let text = match event {
                    SteerEvent::Text { text, .. } => text,
                    SteerEvent::Reasoning { text, .. } => {
                        waiting.take().into_iter().for_each(Waiting::end);
                        if !quiet {
                            terminal::say_part(if thinking { "" } else { "(thinking) " });
                            terminal::say_part(text);
                            thinking = true;
                        }
                        return;
                    }
                    event => return waiting.iter_mut().for_each(|waiting| waiting.show(&event)),
                };
                // A bar would overwrite a line that is still being printed.
                waiting.take().into_iter().for_each(Waiting::end);
                if std::mem::take(&mut thinking) {
                    terminal::say_part("\n\n");
                }
                let mut out = terminal::stdout();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                if written.is_err() {
                    token.cancel();
                    output = written;
                }
            };
            match text {
                Some(text) => self.session.reply(text, token, &mut on_event),
                None => self.session.regenerate(token, &mut on_event),
            }
        });
        waiting.take().into_iter().for_each(Waiting::end);
        output?;
        let reply = match reply {
            Err(error) if error.is_cancelled() => {
                self.global.note("(stopped)");
                return Ok(());
            }
            reply => reply?,
        };
        writeln!(terminal::stdout())?;
        let context = self.session.context();
        if reply.dropped_messages > 0 {
            let dropped = reply.dropped_messages;
            self.global
                .note(format!("dropped the {dropped} oldest messages: the context holds {context} tokens"));
        }
        match reply.finish() {
            Finish::Cancelled | Finish::Deadline => self.global.note("(stopped)"),
            Finish::Length | Finish::ContextFull => {
                self.global.note(format!("(cut off after {} tokens)", reply.answer.reply.tokens.len()));
            }
            _ if chooses && reply.answer.score().is_none() => self.global.note("(no score)"),
            _ => {}
        }
        if self.session.steering().scores {
            terminal::say(scores(self.session.steering(), &reply.answer));
        }
        Ok(())
    }

    fn save(&self, path: &Path) -> Result<(), CliError> {
        self.session.save(path)?;
        self.global.note(format!("saved to {}", path.display()));
        Ok(())
    }

    fn show_stats(&self) {
        let Some(ChatReply { answer, first_token, total, .. }) = self.session.last_reply() else {
            return terminal::say("no reply so far");
        };
        let (reply, cost) = (&answer.reply, answer.cost);
        let tokens = reply.tokens.len();
        let decoding = (*total - *first_token).as_secs_f64();
        terminal::say(format_args!(
            "prompt {} tokens ({} reused), first token after {:.2} s",
            reply.prompt_tokens,
            reply.reused_tokens,
            first_token.as_secs_f64()
        ));
        if tokens > 1 && decoding > 0.0 {
            terminal::say(format_args!("reply {tokens} tokens, {:.1} tok/s", (tokens - 1) as f64 / decoding));
        }
        if cost.generated_tokens > tokens || cost.scored_tokens > 0 {
            terminal::say(format_args!(
                "{} tokens generated in total, {} read for scores",
                cost.generated_tokens, cost.scored_tokens
            ));
        }
        terminal::say(format_args!(
            "context {} of {} tokens",
            reply.prompt_tokens + tokens,
            self.session.context()
        ));
    }
}

fn is_nothing_to_replace(error: &parr::Error) -> bool {
    matches!(error, parr::Error::Chat(ChatError::NothingToReplace))
}

/// Progress while candidates are generated and scored.
struct Waiting {
    bar: ProgressBar,
    drawn: usize,
}

impl Waiting {
    fn new(global: &GlobalArgs) -> Waiting {
        Waiting { bar: global.bar(None, "{spinner} {msg}"), drawn: 0 }
    }

    fn show(&mut self, progress: &SteerEvent<'_>) {
        match progress {
            SteerEvent::Drawn => {
                self.drawn += 1;
                self.bar.set_message(format!("{} tokens generated", self.drawn));
            }
            SteerEvent::Scored { done, of } => {
                self.bar.set_message(format!("{} tokens generated, {done} of {of} scores read", self.drawn));
            }
            SteerEvent::Text { .. } | SteerEvent::Reasoning { .. } => {}
        }
        self.bar.tick();
    }

    fn end(self) {
        self.bar.finish_and_clear();
    }
}
