//! What a reward model learns from: judged replies with principles, or plain preferences without.

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

/// A preference between two replies to one prompt, without principles: a line of an HH-style file. Other keys of
/// such a line are ignored, because the files come from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardPair {
    /// The request.
    pub prompt: String,
    /// The better reply.
    pub chosen: String,
    /// The other reply.
    pub rejected: String,
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
            add_file(&mut hash, &bytes);
        }
        let path = files.first().cloned().unwrap_or_default();
        RewardData::of_judged(comparisons, set, path, hex(hash.finalize()))
    }

    /// Replies that a judge compared, in memory, and the principles to draw from, such as those of
    /// [`PrincipleSet::open_all`].
    ///
    /// The hash is that of a file with one line for each comparison, as [`Comparison`] serializes to JSON and
    /// [`RecordLog`](crate::preferences::RecordLog) writes it: a run on such a file can be resumed with the
    /// comparisons in memory.
    ///
    /// # Errors
    ///
    /// * [`RewardError::Preferences`] for the first comparison that makes no sense, or has the id of an earlier
    ///   one;
    /// * [`RewardError::Nothing`] without any.
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
        for (line, number) in bytes.split(|&byte| byte == b'\n').zip(1..) {
            if !line.trim_ascii().is_empty() {
                let pair = parse(line).and_then(|row| preference(row, number));
                pairs.push(pair.map_err(|reason| row(file, number, &reason))?);
            }
        }
        RewardData::of_pairs(pairs, file.to_owned(), &bytes)
    }

    /// Preferences without principles, in memory. In messages the first is on line 1 of `preferences`.
    ///
    /// The hash is that of a file with one line for each row, as [`RewardPair`] serializes to JSON.
    ///
    /// # Errors
    ///
    /// [`RewardError::Row`] and [`RewardError::Nothing`] as [`RewardData::preferences`].
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
            let reason = format!("{} holds no preference", path.display());
            return Err(RewardError::Nothing { reason });
        }
        Ok(RewardData { kind: Kind::Preferences(pairs), path, sha256: hex(Sha256::digest(bytes)) })
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

/// A line of a file of preferences.
fn parse(line: &[u8]) -> Result<RewardPair, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("byte {} is not UTF-8; save the file as UTF-8", error.valid_up_to() + 1))?;
    serde_json::from_str(text.trim_start_matches('\u{FEFF}')).map_err(|error| {
        // serde ends its messages with " at line 1 column 9": the line is always 1 here.
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
        // There is no list; nothing asks which place of it.
        decided_by: DecidedBy::Principle(0),
        flipped: false,
        swapped: false,
    })
}

/// Adds a file to a hash of several: its length first, so that no two lists of files read the same.
fn add_file(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// Rows as a JSON Lines file.
fn json_lines(rows: &[impl Serialize]) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row).expect("rows are plain values");
        lines.push(b'\n');
    }
    lines
}
