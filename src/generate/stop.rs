//! Stop strings: texts that end a reply.

/// Searches text for the first complete stop string while it is generated.
///
/// Text that may be the beginning of a stop string is held back, so shown text is never retracted.
/// The result does not depend on how the text is cut into pieces.
///
/// # Examples
///
/// ```
/// use parr::generate::StopMatcher;
///
/// let mut matcher = StopMatcher::new(["\nUser:"]);
/// assert_eq!(matcher.push("Yes.\nUs"), "Yes.");
/// assert_eq!(matcher.push("ed to."), "\nUsed to.");
/// assert_eq!(matcher.push(" No.\nUser: and"), " No.");
/// assert_eq!(matcher.matched(), Some("\nUser:"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// Text that is not shown so far: the beginning of a stop string.
    held: String,
    matched: Option<usize>,
}

impl StopMatcher {
    /// Makes a matcher for `stops`; an empty string never matches.
    pub fn new<S: Into<String>>(stops: impl IntoIterator<Item = S>) -> Self {
        let stops = stops.into_iter().map(Into::into);
        Self { stops: stops.filter(|stop: &String| !stop.is_empty()).collect(), ..Self::default() }
    }

    /// Takes the next piece of text and returns the text that can be shown so far.
    ///
    /// Once a stop string is complete, the text before it is the last text that is returned. The stop
    /// string and everything after it are dropped. If several stop strings are complete at the same
    /// position, the longest counts.
    pub fn push(&mut self, text: &str) -> String {
        if self.matched.is_some() {
            return String::new();
        }
        let before = self.held.len();
        self.held.push_str(text);
        for (at, letter) in text.char_indices() {
            let read = &self.held[..before + at + letter.len_utf8()];
            let complete = self.stops.iter().enumerate().filter(|(_, stop)| read.ends_with(*stop));
            if let Some((index, stop)) = complete.max_by_key(|(_, stop)| stop.len()) {
                self.matched = Some(index);
                let shown = read[..read.len() - stop.len()].to_owned();
                self.held.clear();
                return shown;
            }
        }
        let waiting = self.held.split_off(self.beginning());
        std::mem::replace(&mut self.held, waiting)
    }

    /// Ends the text, and returns held-back text that is not part of a complete stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The stop string that ended the text, if any.
    pub fn matched(&self) -> Option<&str> {
        self.matched.map(|index| self.stops[index].as_str())
    }

    /// Start of the longest tail of `held` that is a prefix of a stop string.
    fn beginning(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let len = self.held.len();
        let starts = self.held.char_indices().map(|(at, _)| at);
        starts
            .skip_while(|at| len - at >= longest)
            .find(|&at| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..])))
            .unwrap_or(len)
    }
}

#[cfg(test)]
mod tests {
    use super::StopMatcher;
    use proptest::prelude::*;

    /// The shown text of `pieces`, and the stop string that ended it.
    fn run(stops: &[String], pieces: &[String]) -> (String, Option<String>) {
        let mut matcher = StopMatcher::new(stops.iter().cloned());
        let mut shown: String = pieces.iter().map(|piece| matcher.push(piece)).collect();
        shown.push_str(&matcher.finish());
        (shown, matcher.matched().map(str::to_owned))
    }

    /// The definition: read letter by letter until a stop string is complete.
    fn by_definition(stops: &[String], text: &str) -> (String, Option<String>) {
        for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)) {
            let read = &text[..end];
            let complete = stops.iter().filter(|stop| !stop.is_empty() && read.ends_with(*stop));
            if let Some(stop) = complete.max_by_key(|stop| stop.len()) {
                return (read[..end - stop.len()].to_owned(), Some(stop.clone()));
            }
        }
        (text.to_owned(), None)
    }

    proptest! {
        #[test]
        fn the_outcome_is_that_of_the_whole_text(
            stops in prop::collection::vec("[abé]{0,4}", 0..4),
            pieces in prop::collection::vec("[abé]{0,5}", 0..8),
        ) {
            prop_assert_eq!(run(&stops, &pieces), by_definition(&stops, &pieces.concat()));
        }

        #[test]
        fn nothing_is_held_back_without_need(
            stops in prop::collection::vec("[ab]{1,4}", 1..4),
            pieces in prop::collection::vec("[abc]{0,5}", 0..8),
        ) {
            let mut matcher = StopMatcher::new(stops.iter().cloned());
            for piece in &pieces {
                matcher.push(piece);
                let held = matcher.clone().finish();
                let needed = stops.iter().any(|stop| stop.starts_with(&held));
                prop_assert!(held.is_empty() || needed, "held {:?}", held);
            }
        }
    }

    #[test]
    fn after_a_match_nothing_more_is_shown() {
        let mut matcher = StopMatcher::new(["b"]);
        assert_eq!(matcher.push("abc"), "a");
        assert_eq!(matcher.push("d"), "");
        assert_eq!(matcher.finish(), "");
        assert_eq!(matcher.matched(), Some("b"));
    }

    #[test]
    fn without_stop_strings_text_passes_through() {
        let mut matcher = StopMatcher::new([""; 2]);
        assert_eq!(matcher.push("abc"), "abc");
        assert_eq!(matcher.matched(), None);
    }
}
