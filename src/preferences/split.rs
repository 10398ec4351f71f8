//! Selection of prompts that are held out for evaluation.

use sha2::{Digest, Sha256};

use crate::random::{Philox, Purpose, fraction};

/// Whether rows with this prompt are held out. `part` is the fraction of all prompts to hold out.
///
/// Only the text decides. Two prompts with the same words are both held out or both used, whatever their ids.
/// Prompts that are added later do not change this for the others. So `part` is an expected value: among a
/// hundred prompts, the number may differ by a few.
pub fn held_out(seed: u64, prompt: &str, part: f64) -> bool {
    // Prompts that differ only in blanks and case count as the same.
    let words: Vec<String> = prompt.split_whitespace().map(str::to_lowercase).collect();
    let [index, step, ..] = name(&words.join(" "));
    let [high, low, ..] = Philox::new(seed).block(Purpose::HoldOut, step, index, 0);
    fraction(high, low) < part
}

/// The SHA-256 of a text as eight words, used as indices of random draws.
pub(crate) fn name(text: &str) -> [u32; 8] {
    let digest = Sha256::digest(text);
    std::array::from_fn(|word| {
        let bytes = [0, 1, 2, 3].map(|byte| digest[4 * word + byte]);
        u32::from_le_bytes(bytes)
    })
}
