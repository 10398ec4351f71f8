//! Replies with labels, as training data.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::attributes::Reserved;
use crate::file::{AtFile, hex};
use crate::preferences::{LabelledReply, PreferencesError, check_records, held_out, parse_numbered};
use crate::reward::RewardError;
use crate::reward::data::{add_file, json_lines};

/// Replies with labels, in memory.
#[derive(Clone, Debug)]
pub struct LabelledData {
    replies: Vec<LabelledReply>,
    /// The first file, or a name for data in memory. Used in messages.
    path: PathBuf,
    sha256: String,
}

impl LabelledData {
    /// Reads JSON Lines of [`LabelledReply`].
    ///
    /// # Errors
    ///
    /// * [`RewardError::Preferences`] if a file cannot be read, or a line is no labelled reply;
    /// * [`RewardError::Nothing`] if there are none.
    pub fn read(files: &[PathBuf]) -> Result<LabelledData, RewardError> {
        let (mut replies, mut hash) = (Vec::new(), Sha256::new());
        for file in files {
            let bytes = fs::read(file).map_err(PreferencesError::io("read", file))?;
            let rows = parse_numbered::<LabelledReply>(file, &bytes)?;
            replies.extend(rows.into_iter().map(|(_, reply)| reply));
            add_file(&mut hash, &bytes);
        }
        let path = files.first().cloned().unwrap_or_default();
        LabelledData::of(replies, path, hex(hash.finalize()))
    }

    /// Takes replies in memory. The hash equals that of a file with one line per reply.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Preferences`] for the first one that is invalid or has the id of an earlier one;
    /// * [`RewardError::Nothing`] if there are none.
    pub fn of_replies(replies: Vec<LabelledReply>) -> Result<LabelledData, RewardError> {
        check_records(&replies)?;
        let mut hash = Sha256::new();
        add_file(&mut hash, &json_lines(&replies));
        LabelledData::of(replies, PathBuf::from("labelled replies"), hex(hash.finalize()))
    }

    /// Refuses labels that are reserved for evaluation.
    ///
    /// # Errors
    ///
    /// [`RewardError::Reserved`] for the first one.
    pub(super) fn check_reserved(&self) -> Result<(), RewardError> {
        let reserved = Reserved::shipped();
        for reply in &self.replies {
            for label in &reply.labels {
                let ids = label.attribute.as_deref().unwrap_or_default();
                let attribute = ids.split('+').find(|id| reserved.has_attribute(id));
                if attribute.is_some() || reserved.has_sentence(&label.principle) {
                    return Err(RewardError::Reserved {
                        path: self.path.clone(),
                        reply: reply.id.clone(),
                        principle: label.principle.clone(),
                        attribute: attribute.map(str::to_owned),
                    });
                }
            }
        }
        Ok(())
    }

    fn of(replies: Vec<LabelledReply>, path: PathBuf, sha256: String) -> Result<LabelledData, RewardError> {
        if replies.is_empty() {
            let reason = format!("{} contains no labelled replies", path.display());
            return Err(RewardError::Nothing { reason });
        }
        Ok(LabelledData { replies, path, sha256 })
    }

    /// The replies.
    pub fn replies(&self) -> &[LabelledReply] {
        &self.replies
    }

    /// Ids of the attributes that labels name, each once, in order.
    pub fn attributes(&self) -> Vec<String> {
        let labels = self.replies.iter().flat_map(|reply| &reply.labels);
        let ids = labels.filter_map(|label| label.attribute.as_deref()).flat_map(|ids| ids.split('+'));
        let ids: std::collections::BTreeSet<&str> = ids.collect();
        ids.into_iter().map(str::to_owned).collect()
    }

    /// SHA-256 of all data, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Groups of consecutive replies with the same prompt and the same principles in the same order.
    pub fn groups(&self) -> impl Iterator<Item = &[LabelledReply]> {
        self.replies.chunk_by(|one, next| {
            let mut principles = one.labels.iter().zip(&next.labels);
            one.prompt == next.prompt
                && one.labels.len() == next.labels.len()
                && principles.all(|(one, next)| one.principle == next.principle)
        })
    }

    /// The groups to train on, and those of prompts that are held out.
    pub fn split(&self, seed: u64, share: f64) -> (Vec<&[LabelledReply]>, Vec<&[LabelledReply]>) {
        self.groups().partition(|group| !held_out(seed, &group[0].prompt, share))
    }
}
