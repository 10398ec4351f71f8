//! Input lines of a chat: messages and /commands.

use std::path::PathBuf;

/// One line of input.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// Only blanks.
    Empty,
    /// A message to the model.
    Say(String),
    Help,
    Reset,
    /// Replaces the system message; `None` restores the model's default.
    System(Option<String>),
    Set {
        name: String,
        value: String,
    },
    Save(PathBuf),
    Regenerate,
    Stats,
    /// Shows the scores of all candidates of the last reply.
    Why,
    /// Shows the principles in use, or changes to others.
    Principles(Option<String>),
    /// Whether scores are shown.
    Scores(bool),
    /// Number of replies that the reward model chooses from.
    BestOf(usize),
    Quit,
    /// An unknown command, or one without its argument, with a message.
    Wrong(String),
}

/// Output of `/help`.
pub(super) const HELP: &str = "\
/help              list the commands
/reset             forget the conversation, keep the system message
/system TEXT       set the system message and start over; without TEXT, use the
                   model's default
/set NAME VALUE    change a sampling setting: temperature top_k top_p min_p
                   repetition_penalty seed max_tokens
/regen             replace the last reply by another one, with the next seed
/save FILE         write the conversation as a line for `parr generate --jsonl`
/stats             show tokens and speed of the last reply, and the used context
/principles NAME   change to a set or file of principles; without NAME, show
                   those in use
/best-of N         sample N replies and keep the one with the highest score
/scores on|off     show or hide the scores of replies
/why               show the candidates of the last reply, each with its score under
                   every principle
/quit              leave, like ctrl-D; ctrl-C stops a reply
To send a message that starts with /, start it with //.";

impl Line {
    /// Reads one line.
    pub(super) fn parse(text: &str) -> Line {
        let text = text.trim();
        if text.is_empty() {
            return Line::Empty;
        }
        if let Some(said) = text.strip_prefix('/').filter(|rest| rest.starts_with('/')) {
            return Line::Say(said.to_owned());
        }
        let Some(command) = text.strip_prefix('/') else {
            return Line::Say(text.to_owned());
        };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match name {
            "help" => Line::Help,
            "reset" => Line::Reset,
            "system" => Line::System(Some(rest.to_owned()).filter(|text| !text.is_empty())),
            "set" => match rest.split_once(char::is_whitespace) {
                Some((name, value)) => Line::Set { name: name.to_owned(), value: value.trim().to_owned() },
                None => Line::Wrong("/set needs a name and a value, as in /set temperature 0.7".to_owned()),
            },
            "save" if rest.is_empty() => Line::Wrong("/save needs a file name".to_owned()),
            "save" => Line::Save(rest.into()),
            "regen" => Line::Regenerate,
            "stats" => Line::Stats,
            "why" => Line::Why,
            "principles" => Line::Principles(Some(rest.to_owned()).filter(|name| !name.is_empty())),
            "scores" => match rest {
                "on" => Line::Scores(true),
                "off" => Line::Scores(false),
                _ => Line::Wrong("/scores needs on or off".to_owned()),
            },
            "best-of" => match rest.parse() {
                Ok(n @ 1..=256) => Line::BestOf(n),
                _ => Line::Wrong("/best-of needs a number from 1 to 256".to_owned()),
            },
            "quit" | "exit" => Line::Quit,
            _ => Line::Wrong(format!(
                "unknown command /{name}: /help lists the commands; // starts a message that begins with /"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_from_commands() {
        assert_eq!(Line::parse("  \t"), Line::Empty);
        assert_eq!(Line::parse(" hello there "), Line::Say("hello there".to_owned()));
        assert_eq!(Line::parse("//usr is a path"), Line::Say("/usr is a path".to_owned()));
        assert_eq!(Line::parse("/system  Be brief. "), Line::System(Some("Be brief.".to_owned())));
        assert_eq!(Line::parse("/system"), Line::System(None));
        assert_eq!(
            Line::parse("/set top_p  0.5"),
            Line::Set { name: "top_p".to_owned(), value: "0.5".to_owned() }
        );
        assert_eq!(Line::parse("/save my chat.jsonl"), Line::Save("my chat.jsonl".into()));
        assert_eq!(Line::parse("/principles"), Line::Principles(None));
        assert_eq!(Line::parse("/principles my set.toml"), Line::Principles(Some("my set.toml".to_owned())));
        assert_eq!(Line::parse("/scores off"), Line::Scores(false));
        assert_eq!(Line::parse("/why"), Line::Why);
        assert_eq!(Line::parse("/best-of 4"), Line::BestOf(4));
        for wrong in ["/set temperature", "/save", "/fly", "/scores", "/best-of 0", "/best-of many"] {
            assert!(matches!(Line::parse(wrong), Line::Wrong(_)), "{wrong}");
        }
    }

    #[test]
    fn help_lists_every_setting() {
        for name in crate::cli::sampling::SamplingArgs::NAMES {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
