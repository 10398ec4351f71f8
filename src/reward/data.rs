//! Training data of a reward model: judged replies with principles, or plain preferences without principles.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::RewardError;
use crate::file::AtFile;
use crate::file::hex;
use crate::preferences::{
    AggregateOptions, AggregateReport, Aggregated, Aggregator, Comparison, DecidedBy, PreferencePair,
    PreferencesError, Prompt, Scores, Verdict, check_records, held_out, parse_numbered,
};
use crate::principles::{Principle, PrincipleSet, PromptType};

/// Training data of a reward model, in memory.
#[derive(Clone, Debug)]
pub struct RewardData {
    kind: Kind,
    /// The first file, or a name for data in memory. Used in messages.
    path: PathBuf,
    sha256: String,
}

#[derive(Clone, Debug)]
enum Kind {
    Judged { comparisons: Vec<Comparison>, set: Box<PrincipleSet> },
    Preferences(Vec<PreferencePair>),
}

/// A preference between two replies to one prompt, without principles: a line of an HH-style file. Other keys
/// of the line are ignored, because such files come from other programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardPair {
    /// The prompt.
    pub prompt: String,
    /// The better reply.
    pub chosen: String,
    /// The other reply.
    pub rejected: String,
}

impl RewardData {
    /// Reads replies that a judge compared, from JSON Lines of [`Comparison`]. [`PrincipleSet::open_all`]
    /// joins the principles of `sets`.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Principles`] if a set cannot be read, or two sets have the same principle;
    /// * [`RewardError::Preferences`] if a file cannot be read, or a line is not a comparison;
    /// * [`RewardError::Nothing`] if there are no comparisons.
    pub fn judged(files: &[PathBuf], sets: &[String]) -> Result<RewardData, RewardError> {
        RewardData::judged_under(files, PrincipleSet::open_all(sets)?)
    }

    /// Like [`RewardData::judged`], with a set in memory.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Preferences`] if a file cannot be read, or a line is not a comparison;
    /// * [`RewardError::Nothing`] if there are no comparisons.
    pub fn judged_under(files: &[PathBuf], set: PrincipleSet) -> Result<RewardData, RewardError> {
        let (mut comparisons, mut hash) = (Vec::new(), Sha256::new());
        for file in files {
            let bytes = fs::read(file).map_err(PreferencesError::io("read", file))?;
            let rows = parse_numbered::<Comparison>(file, &bytes)?;
            comparisons.extend(rows.into_iter().map(|(_, comparison)| comparison));
            add_file(&mut hash, &bytes);
        }
        let path = files.first().cloned().unwrap_or_default();
        RewardData::of_judged(comparisons, set, path, hex(hash.finalize()))
    }

    /// Takes comparisons in memory, and the principles to draw from, for example from
    /// [`PrincipleSet::open_all`].
    ///
    /// The hash equals that of a file with one line per comparison, as
    /// [`RecordLog`](crate::preferences::RecordLog) writes it. So a run on such a file can resume with the
    /// same comparisons in memory.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Preferences`] for the first comparison that is invalid or has the id of an earlier
    ///   one;
    /// * [`RewardError::Nothing`] if there are no comparisons.
    pub fn of_comparisons(
        comparisons: Vec<Comparison>,
        set: PrincipleSet,
    ) -> Result<RewardData, RewardError> {
        check_records(&comparisons)?;
        let mut hash = Sha256::new();
        add_file(&mut hash, &json_lines(&comparisons));
        RewardData::of_judged(comparisons, set, PathBuf::from("comparisons"), hex(hash.finalize()))
    }

    fn of_judged(
        comparisons: Vec<Comparison>,
        set: PrincipleSet,
        path: PathBuf,
        sha256: String,
    ) -> Result<RewardData, RewardError> {
        if comparisons.is_empty() {
            let reason = format!("{} contains no comparisons", path.display());
            return Err(RewardError::Nothing { reason });
        }
        Ok(RewardData { kind: Kind::Judged { comparisons, set: Box::new(set) }, path, sha256 })
    }

    /// Reads preferences without principles, from JSON Lines of `{"prompt", "chosen", "rejected"}`.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Io`] if the file cannot be read;
    /// * [`RewardError::Row`] for the first line that is not a preference, has an empty text, or has the same
    ///   text for both replies;
    /// * [`RewardError::Nothing`] if there are no preferences.
    pub fn preferences(file: &Path) -> Result<RewardData, RewardError> {
        let bytes = fs::read(file).map_err(RewardError::io("read", file))?;
        let mut pairs = Vec::new();
        for (line, number) in bytes.split(|&byte| byte == b'\n').zip(1..) {
            if !line.trim_ascii().is_empty() {
                let pair = parse(line).and_then(|row| preference(row, number));
                pairs.push(pair.map_err(|reason| row(file, number, &reason))?);
            }
        }
        RewardData::of_pairs(pairs, file.to_owned(), &bytes)
    }

    /// Takes preferences without principles, in memory. Messages refer to the first one as line 1 of
    /// `preferences`.
    ///
    /// The hash equals that of a file with one line per row, as [`RewardPair`] serializes to JSON.
    ///
    /// # Errors
    ///
    /// [`RewardError::Row`] and [`RewardError::Nothing`], as for [`RewardData::preferences`].
    pub fn of_preferences(rows: impl IntoIterator<Item = RewardPair>) -> Result<RewardData, RewardError> {
        let path = PathBuf::from("preferences");
        let rows: Vec<RewardPair> = rows.into_iter().collect();
        let bytes = json_lines(&rows);
        let mut pairs = Vec::with_capacity(rows.len());
        for (one, number) in rows.into_iter().zip(1..) {
            pairs.push(preference(one, number).map_err(|reason| row(&path, number, &reason))?);
        }
        RewardData::of_pairs(pairs, path, &bytes)
    }

    fn of_pairs(pairs: Vec<PreferencePair>, path: PathBuf, bytes: &[u8]) -> Result<RewardData, RewardError> {
        if pairs.is_empty() {
            let reason = format!("{} contains no preferences", path.display());
            return Err(RewardError::Nothing { reason });
        }
        Ok(RewardData { kind: Kind::Preferences(pairs), path, sha256: hex(Sha256::digest(bytes)) })
    }

    /// Replaces the judge's verdicts by those of the programs that principles name. A verdict is 1, 0 or -1
    /// if the first reply follows the principle better than, as well as, or less well than the second.
    /// Principles without a program get no verdict.
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

    /// The principles. `None` for plain preferences.
    pub fn set(&self) -> Option<&PrincipleSet> {
        match &self.kind {
            Kind::Judged { set, .. } => Some(set),
            Kind::Preferences(_) => None,
        }
    }

    /// The comparisons. Empty for plain preferences.
    pub fn comparisons(&self) -> &[Comparison] {
        match &self.kind {
            Kind::Judged { comparisons, .. } => comparisons,
            Kind::Preferences(_) => &[],
        }
    }

    /// SHA-256 of all training data, including principles, in hexadecimal.
    pub fn sha256(&self) -> String {
        let set = self.set().map_or("", |set| &set.sha256);
        hex(Sha256::digest([&self.sha256, "\n", set].concat()))
    }

    /// The data's file, or a name for data in memory. Used in messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The source that pairs are drawn from.
    ///
    /// # Errors
    ///
    /// [`RewardError::Preferences`], as for [`Aggregator::new`].
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

/// A source of pairs, one pass at a time.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    Judged(Box<Aggregator<'a>>),
    Preferences { pairs: &'a [PreferencePair], options: &'a AggregateOptions },
}

impl Source<'_> {
    /// The pairs of one pass. Judged replies give other pairs in each pass; preferences always give the same.
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

    /// The mirror of a training pair. `None` if the options do not ask for mirrors, or the pair has none.
    pub fn mirrored(&self, pair: &PreferencePair) -> Option<PreferencePair> {
        match self {
            Source::Judged(aggregator) => aggregator.mirrored(pair),
            Source::Preferences { .. } => None,
        }
    }

    /// The held-out pairs of `passes` passes. Preferences give each pair once.
    pub fn held_out(&self, passes: u32) -> Vec<PreferencePair> {
        let passes = if matches!(self, Source::Judged(_)) { passes } else { 1 };
        (0..passes).flat_map(|pass| self.pass(pass).held_out).collect()
    }
}

/// Parses a line of a file of preferences.
fn parse(line: &[u8]) -> Result<RewardPair, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("byte {} is not UTF-8; save the file as UTF-8", error.valid_up_to() + 1))?;
    serde_json::from_str(text.trim_start_matches('\u{FEFF}')).map_err(|error| {
        // serde's messages end with " at line 1 column 9". The line is always 1 here, so it is cut off.
        let reason = error.to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        format!("{reason} (column {})", error.column())
    })
}

/// The error of line `number`.
fn row(path: &Path, line: usize, reason: &str) -> RewardError {
    let reason = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
    RewardError::Row { path: path.to_owned(), line, reason }
}

fn preference(row: RewardPair, number: usize) -> Result<PreferencePair, String> {
    let RewardPair { prompt, chosen, rejected } = row;
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
        // There is no list of principles, so the index is not used.
        decided_by: DecidedBy::Principle(0),
        flipped: false,
        swapped: false,
    })
}

/// Adds a file to a hash of several files. Its length comes first, so that different lists of files have
/// different hashes.
pub(super) fn add_file(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// Rows as a JSON Lines file.
pub(super) fn json_lines(rows: &[impl Serialize]) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row).expect("rows are plain values");
        lines.push(b'\n');
    }
    lines
}
