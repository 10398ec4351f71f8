//! What is reserved for evaluation, so that no training may use it.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::pattern::words;
use super::{Attribute, AttributeSet, everyday};

/// Attributes and sentences that are reserved for evaluation: the held-out attributes that ship with Parr and those of
/// [`AttributeSet::ifbench`], with all their sentences, and the [`everyday`] sentences.
#[derive(Debug)]
pub struct Reserved {
    attributes: HashSet<String>,
    /// Sentences as [`key`] makes them.
    sentences: HashSet<String>,
}

impl Reserved {
    /// What is reserved of all that ships with Parr.
    ///
    /// ```
    /// use parr::attributes::Reserved;
    ///
    /// let reserved = Reserved::shipped();
    /// assert!(reserved.has_attribute("semicolons") && !reserved.has_attribute("emoji"));
    /// assert!(reserved.has_sentence("I hate lists with dashes - just talk to me normally!"));
    /// ```
    pub fn shipped() -> &'static Reserved {
        static SHIPPED: OnceLock<Reserved> = OnceLock::new();
        SHIPPED.get_or_init(|| {
            let (set, ifbench) = (AttributeSet::shipped(), AttributeSet::ifbench());
            let held_out: Vec<&Attribute> = set.held_out().chain(ifbench.held_out()).collect();
            let mut sentences: HashSet<String> = everyday().iter().map(|one| key(&one.text)).collect();
            for attribute in &held_out {
                for parameter in attribute.parameters() {
                    let texts = [true, false].into_iter().flat_map(|wants| attribute.sentences(wants));
                    sentences.extend(texts.map(|text| key(&parameter.fill(text))));
                }
            }
            Reserved { attributes: held_out.iter().map(|one| one.id.clone()).collect(), sentences }
        })
    }

    /// Whether the attribute with this id is reserved.
    pub fn has_attribute(&self, id: &str) -> bool {
        self.attributes.contains(id)
    }

    /// Whether a sentence is reserved. Case and punctuation do not matter.
    pub fn has_sentence(&self, text: &str) -> bool {
        self.sentences.contains(&key(text))
    }
}

/// A sentence without case and punctuation. One of signs alone stays as it is.
fn key(text: &str) -> String {
    let words = words(text);
    if words.is_empty() { text.trim().to_owned() } else { words.join(" ") }
}
