//! Where the time of a call goes.

/// How long the two phases of a generator's last call took, reading prompts and writing replies. What prefixes
/// that were known saved is in neither.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Seconds until the first token of every reply was drawn, summed over the rounds of admission.
    pub prefill_seconds: f64,
    /// Tokens that were drawn after a reply's first.
    pub decode_tokens: usize,
    /// Seconds that these took.
    pub decode_seconds: f64,
}

impl Pace {
    /// Tokens of replies a second, of all sequences together; `None` if none was decoded.
    pub fn decode_rate(&self) -> Option<f64> {
        (self.decode_tokens > 0).then(|| self.decode_tokens as f64 / self.decode_seconds)
    }
}
