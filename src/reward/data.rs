//! What a reward model learns from: judged replies with principles, or plain preferences without.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::RewardError;
use crate::file::AtFile;
use crate::file::hex;
use crate::preferences::{
    AggregateOptions, AggregateReport, Aggregated, Aggregator, Comparison, DecidedBy, PreferencePair,
    PreferencesError, Prompt, Scores, Verdict, held_out, parse_numbered,
};
use crate::principles::{Principle, PrincipleSet, PromptType};

/// What a reward model learns from, read whole.
#[derive(Clone, Debug)]
pub struct RewardData {
    kind: Kind,
    /// The files, for messages.
    path: PathBuf,
    sha256: String,
}

#[derive(Clone, Debug)]
enum Kind {
    Judged { comparisons: Vec<Comparison>, set: Box<PrincipleSet> },
    Preferences(Vec<PreferencePair>),
}

/// A line of HH-style preferences. Other keys are passed over: such files come from elsewhere.
#[derive(Deserialize)]
struct Preference {
    prompt: String,
    chosen: String,
    rejected: String,
}

impl RewardData {
    /// Replies that a judge compared, in JSON Lines of [`Comparison`], and the principles of `sets`, taken
    /// together by [`PrincipleSet::open_all`].
    ///
    /// # Errors
    ///
    /// * [`RewardError::Principles`] if a set cannot be read, or two of them have the same principle;
    /// * [`RewardError::Preferences`] if a file cannot be read, or a line is no comparison;
    /// * [`RewardError::Nothing`] without any.
    pub fn judged(files: &[PathBuf], sets: &[String]) -> Result<RewardData, RewardError> {
        RewardData::judged_under(files, PrincipleSet::open_all(sets)?)
    }

    /// [`RewardData::judged`] under a set that is in memory already.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Preferences`] if a file cannot be read, or a line is no comparison;
    /// * [`RewardError::Nothing`] without any.
    pub fn judged_under(files: &[PathBuf], set: PrincipleSet) -> Result<RewardData, RewardError> {
        let (mut comparisons, mut hash) = (Vec::new(), Sha256::new());
        for file in files {
            let bytes = fs::read(file).map_err(PreferencesError::io("read", file))?;
            let rows = parse_numbered::<Comparison>(file, &bytes)?;
            comparisons.extend(rows.into_iter().map(|(_, comparison)| comparison));
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        let (path, sha256) = (files.first().cloned().unwrap_or_default(), hex(hash.finalize()));
        if comparisons.is_empty() {
            let reason = format!("{} holds no comparison", path.display());
            return Err(RewardError::Nothing { reason });
        }
        Ok(RewardData { kind: Kind::Judged { comparisons, set: Box::new(set) }, path, sha256 })
    }

    /// Preferences without principles, in JSON Lines of `{"prompt", "chosen", "rejected"}`.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Io`] if the file cannot be read;
    /// * [`RewardError::Row`] for the first line that is no preference, has an empty text, or prefers a reply
    ///   to itself;
    /// * [`RewardError::Nothing`] without any.
    pub fn preferences(file: &Path) -> Result<RewardData, RewardError> {
        let bytes = fs::read(file).map_err(RewardError::io("read", file))?;
        let mut pairs = Vec::new();
        for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let pair = preference(line, at + 1);
            pairs.push(pair.map_err(|reason| {
                let reason = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
                RewardError::Row { path: file.to_owned(), line: at + 1, reason }
            })?);
        }
        if pairs.is_empty() {
            let reason = format!("{} holds no preference", file.display());
            return Err(RewardError::Nothing { reason });
        }
        let sha256 = hex(Sha256::digest(&bytes));
        Ok(RewardData { kind: Kind::Preferences(pairs), path: file.to_owned(), sha256 })
    }

    /// Comparisons, and the set that they are aggregated under, that are in memory already.
    pub fn of_comparisons(comparisons: Vec<Comparison>, set: PrincipleSet) -> RewardData {
        let mut all = Sha256::new();
        for comparison in &comparisons {
            all.update(serde_json::to_vec(comparison).expect("records are plain values"));
            all.update(b"\n");
        }
        let kind = Kind::Judged { comparisons, set: Box::new(set) };
        RewardData { kind, path: PathBuf::from("comparisons"), sha256: hex(all.finalize()) }
    }

    /// The same with verdicts of the programs that principles name, in place of the judge's: 1, 0 or -1 for
    /// a first reply that keeps the principle better, as well, or less. Principles without a program have no
    /// verdict then.
    ///
    /// # Errors
    ///
    /// [`RewardError::Nothing`] if there are no comparisons, or no principle names a program.
    pub fn checked(mut self) -> Result<RewardData, RewardError> {
        let Kind::Judged { comparisons, set } = &mut self.kind else {
            let reason = "preferences without principles cannot be checked".to_owned();
            return Err(RewardError::Nothing { reason });
        };
        if set.principles.iter().all(|principle| principle.check.is_none()) {
            let reason = format!("no principle of {} names a program that checks it", set.id);
            return Err(RewardError::Nothing { reason });
        }
        for comparison in comparisons {
            let [first, second] = comparison.replies.each_ref().map(|reply| reply.text.as_str());
            let verdict = |principle: &Principle| {
                let score = f64::from(principle.check?.compare(first, second) as i8);
                Some(Verdict::new(principle, Scores::without_order(score)))
            };
            comparison.verdicts = set.principles.iter().filter_map(verdict).collect();
            "check".clone_into(&mut comparison.judge);
        }
        self.sha256 = hex(Sha256::digest([&self.sha256, "\nchecked"].concat()));
        Ok(self)
    }

    /// The principles; none for plain preferences.
    pub fn set(&self) -> Option<&PrincipleSet> {
        match &self.kind {
            Kind::Judged { set, .. } => Some(set),
            Kind::Preferences(_) => None,
        }
    }

    /// The comparisons; none for plain preferences.
    pub fn comparisons(&self) -> &[Comparison] {
        match &self.kind {
            Kind::Judged { comparisons, .. } => comparisons,
            Kind::Preferences(_) => &[],
        }
    }

    /// Hash of all that is learned from, principles included.
    pub fn sha256(&self) -> String {
        let set = self.set().map_or("", |set| &set.sha256);
        hex(Sha256::digest([&self.sha256, "\n", set].concat()))
    }

    /// Where it comes from, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What pairs are drawn from.
    ///
    /// # Errors
    ///
    /// [`RewardError::Preferences`] as [`Aggregator::new`] has them.
    pub(crate) fn source<'a>(&'a self, options: &'a AggregateOptions) -> Result<Source<'a>, RewardError> {
        options.validate()?;
        Ok(match &self.kind {
            Kind::Judged { comparisons, set } => {
                Source::Judged(Box::new(Aggregator::new(comparisons, set, options)?))
            }
            Kind::Preferences(pairs) => Source::Preferences { pairs, options },
        })
    }
}

/// Pairs, pass by pass.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    Judged(Box<Aggregator<'a>>),
    Preferences { pairs: &'a [PreferencePair], options: &'a AggregateOptions },
}

impl Source<'_> {
    /// The pairs of one pass: of judged replies always others, of preferences always the same.
    pub fn pass(&self, pass: u32) -> Aggregated {
        match self {
            Source::Judged(aggregator) => aggregator.pass(pass),
            Source::Preferences { pairs, options } => {
                let out = |pair: &PreferencePair| held_out(options.seed, &pair.prompt.text, options.held_out);
                let (held_out, train): (Vec<_>, Vec<_>) = pairs.iter().cloned().partition(out);
                let report = AggregateReport {
                    comparisons: pairs.len(),
                    train: train.len(),
                    held_out: held_out.len(),
                    ..AggregateReport::default()
                };
                Aggregated { train, held_out, report }
            }
        }
    }

    /// The mirror of a training pair, where mirrors are asked for and it has one.
    pub fn mirrored(&self, pair: &PreferencePair) -> Option<PreferencePair> {
        match self {
            Source::Judged(aggregator) => aggregator.mirrored(pair),
            Source::Preferences { .. } => None,
        }
    }

    /// Pairs to measure by: those of `passes` passes, of preferences each once.
    pub fn held_out(&self, passes: u32) -> Vec<PreferencePair> {
        let passes = if matches!(self, Source::Judged(_)) { passes } else { 1 };
        (0..passes).flat_map(|pass| self.pass(pass).held_out).collect()
    }
}

fn preference(line: &[u8], number: usize) -> Result<PreferencePair, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("byte {} is not UTF-8; save the file as UTF-8", error.valid_up_to() + 1))?;
    let Preference { prompt, chosen, rejected } = serde_json::from_str(text.trim_start_matches('\u{FEFF}'))
        .map_err(|error| {
        // serde ends its messages with " at line 1 column 9": the line is always 1 here.
        let reason = error.to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        format!("{reason} (column {})", error.column())
    })?;
    for (key, text) in [("prompt", &prompt), ("chosen", &chosen), ("rejected", &rejected)] {
        if text.trim().is_empty() {
            return Err(format!("`{key}` is empty"));
        }
    }
    if chosen.trim() == rejected.trim() {
        return Err("`chosen` and `rejected` are the same text".to_owned());
    }
    let id = format!("line-{number}");
    Ok(PreferencePair {
        prompt: Prompt { id: id.clone(), kind: PromptType::General, language: None, text: prompt },
        id,
        replies: [chosen, rejected],
        principles: Vec::new(),
        preferred: 0,
        // There is no list; nothing asks which place of it.
        decided_by: DecidedBy::Principle(0),
        flipped: false,
        swapped: false,
    })
}
