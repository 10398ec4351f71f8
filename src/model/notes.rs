//! What a user should know about a model that loads: tensors that nothing reads, and files that disagree.

use std::collections::HashSet;

use super::ModelConfig;
use super::config::{Architecture, BIASED, OUTPUT};
use crate::format::{Checkpoint, printable};

/// Number of tensors that a note names.
const NAMED: usize = 3;

/// The names of tensors in `checkpoint`, sorted, that are not among the `used` ones. Copies of what the model
/// computes or has under another name are left out.
pub(super) fn unused(checkpoint: &Checkpoint, config: &ModelConfig, used: &HashSet<String>) -> Vec<String> {
    let readable = checkpoint.tensors().map(|tensor| (&tensor.name, &tensor.source_name));
    let others = checkpoint.unread().map(|tensor| (&tensor.name, &tensor.source_name));
    // A tied head that is stored again, and the frequencies of the rotary embedding.
    let copy = |name: &str| name.ends_with("rotary_emb.inv_freq") || config.tied && name == OUTPUT;
    let known = |name: &str| used.contains(name) || name == super::config::ROPE_FREQS || copy(name);
    let unused = readable.chain(others).filter(|(name, source)| !known(name) && !used.contains(*source));
    let mut unused: Vec<String> = unused.map(|(_, source)| printable(source)).collect();
    unused.sort_unstable();
    unused
}

/// The notes about a model whose tensors `unused` are read by nothing.
pub(super) fn notes(checkpoint: &Checkpoint, config: &ModelConfig, unused: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(json) = checkpoint.config_json() {
        if !config.tied && json["tie_word_embeddings"] == true {
            notes.push(format!(
                "config.json has tie_word_embeddings = true, but `{OUTPUT}` differs from the embedding: it is used"
            ));
        }
        for (key, parts) in [("attention_bias", &BIASED[..4]), ("mlp_bias", &BIASED[4..])] {
            let has = |part: &&&str| checkpoint.has_tensor(&format!("model.layers.0.{part}.bias"));
            let (with, without) = (parts.iter().find(has), parts.iter().find(|part| !has(part)));
            match (json[key].as_bool(), with, without) {
                (Some(false), Some(part), _) => notes.push(format!(
                    "config.json has {key} = false, but the weights have `{part}.bias`: biases are used"
                )),
                // Qwen2 has no bias on its output.
                (Some(true), _, Some(part)) if config.architecture != Architecture::Qwen2 => {
                    notes.push(format!(
                        "config.json has {key} = true, but the weights have no `{part}.bias`: it counts as 0"
                    ));
                }
                _ => {}
            }
        }
    }
    if !unused.is_empty() {
        let named: Vec<String> = unused.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
        let more = unused.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (tensors, are) = if unused.len() == 1 { ("tensor", "is") } else { ("tensors", "are") };
        let named = named.join(", ");
        notes.push(format!("{} {tensors} of the model {are} not used: {named}{more}", unused.len()));
    }
    notes
}
