//! What a person types in a chat: something to say, or a /command.

use std::path::PathBuf;

/// One line of input.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// Nothing but blanks.
    Empty,
    /// A message to the model.
    Say(String),
    Help,
    Reset,
    /// Replaces the system message; `None` takes it away.
    System(Option<String>),
    Set {
        name: String,
        value: String,
    },
    Save(PathBuf),
    Regenerate,
    Stats,
    Quit,
    /// A command that does not exist or lacks its argument, with a sentence about it.
    Wrong(String),
}

/// What `/help` prints.
pub(super) const HELP: &str = "\
/help              this list
/reset             forget the conversation; the system message stays
/system TEXT       set the system message and start anew; without TEXT the model's own default
/set NAME VALUE    sampling: temperature top_k top_p min_p repetition_penalty seed max_tokens
/regen             reply once more to your last message, with the next seed
/save FILE         write the conversation as one JSON line, as `parr generate --jsonl` reads it
/stats             tokens and speed of the last reply, and how full the context is
/quit              leave, as ctrl-D does; ctrl-C stops a reply
A line that starts with // is sent with one / less.";

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
            "quit" | "exit" => Line::Quit,
            _ => Line::Wrong(format!(
                "no command /{name}: /help lists them, // says a line that starts with /"
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
        for wrong in ["/set temperature", "/save", "/fly"] {
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
