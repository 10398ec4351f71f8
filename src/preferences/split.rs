//! Prompts that are kept for measuring.

use sha2::{Digest, Sha256};

use crate::random::{Philox, Purpose, fraction};

/// Whether rows with this prompt are held out, where a fraction `part` of all prompts is to be.
///
/// The text alone decides: two prompts of the same words fall on the same side, whatever their ids, and
/// prompts that are added later move none that were there. So `part` is what is expected, and a hundred
/// prompts may miss it by a few.
pub fn held_out(seed: u64, prompt: &str, part: f64) -> bool {
    // Blanks and case make no other prompt.
    let words: Vec<String> = prompt.split_whitespace().map(str::to_lowercase).collect();
    let [index, step, ..] = name(&words.join(" "));
    let [high, low, ..] = Philox::new(seed).block(Purpose::HoldOut, step, index, 0);
    fraction(high, low) < part
}

/// Words of the SHA-256 of a text, to name random draws by.
pub(crate) fn name(text: &str) -> [u32; 8] {
    let digest = Sha256::digest(text);
    std::array::from_fn(|word| {
        let bytes = [0, 1, 2, 3].map(|byte| digest[4 * word + byte]);
        u32::from_le_bytes(bytes)
    })
}
