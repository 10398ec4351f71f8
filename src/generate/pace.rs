//! Timings of a call.

/// Durations of the two phases of a generator's last call, reading prompts and writing replies. Cached
/// prefixes count in neither.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Seconds until the first token of every reply was drawn, summed over the rounds of admission.
    pub prefill_seconds: f64,
    /// Number of tokens that were drawn after the first token of a reply.
    pub decode_tokens: usize,
    /// Seconds for these tokens.
    pub decode_seconds: f64,
}

impl Pace {
    /// Reply tokens per second, all sequences together; `None` if no token was decoded.
    pub fn decode_rate(&self) -> Option<f64> {
        (self.decode_tokens > 0).then(|| self.decode_tokens as f64 / self.decode_seconds)
    }
}
