//! Scores of continuations with shared beginnings are those of whole rows.

use parr::generate::{CancelToken, Continuation, GenerateError};
use parr::gpu::{DeviceOptions, KernelFamily};
use parr::ops::{KvFormat, TokenStat};

use super::{generator, tiny};
use crate::support::gpu;

fn ids(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|at| (at * at * 5 + at * 11 + seed * 89 + 3) % 512).collect()
}

/// Families of rows with a beginning in common, of unequal lengths: some longer than the rows of logits that
/// are computed at once, one that scores a single token, and one that scores all but the first.
fn rows() -> Vec<Continuation> {
    let mut rows = Vec::new();
    for (family, (given, ends)) in
        [(40, [5, 60, 1]), (9, [30, 2, 44]), (1, [20, 3, 70])].into_iter().enumerate()
    {
        for (end, len) in ends.into_iter().enumerate() {
            let end = ids(100 + 10 * family as u32 + end as u32, len);
            rows.push(Continuation { ids: [ids(family as u32, given), end].concat(), from: given });
        }
    }
    rows
}

fn distance(ours: &[TokenStat], theirs: &[TokenStat]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let apart =
        |(a, b): (&TokenStat, &TokenStat)| (a.logprob - b.logprob).abs().max((a.entropy - b.entropy).abs());
    ours.iter().zip(theirs).map(apart).fold(0.0, f32::max)
}

fn as_whole_rows(family: KernelFamily) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let cancel = CancelToken::new();
    for name in ["llama3-rope-gqa", "qwen2-bias", "lfm2"] {
        let model = tiny(&device, name);
        let rows = rows();
        let whole: Vec<Vec<u32>> = rows.iter().map(|row| row.ids.clone()).collect();
        let mut alone = generator(&model, 1, 128, KvFormat::F32);
        let expected = alone.token_stats(&whole, None, 1.0, &cancel).expect("known ids are scored");
        for slots in [1, 4, 16] {
            let mut together = generator(&model, slots, 128, KvFormat::F32);
            let found = together.continuation_stats(&rows, None, &cancel).expect("known ids are scored");
            for (index, (found, row)) in found.iter().zip(&rows).enumerate() {
                let expected = &expected[index][row.from - 1..];
                match family {
                    KernelFamily::Lane8 => {
                        assert_eq!(found, expected, "{name}: row {index} in {slots} slots");
                    }
                    KernelFamily::Tiled => {
                        let apart = distance(found, expected);
                        assert!(apart <= 1e-4, "{name}: row {index} in {slots} slots is {apart:.1e} off");
                    }
                }
            }
        }
    }
}

#[test]
fn continuations_score_as_whole_rows_on_lane8() {
    as_whole_rows(KernelFamily::Lane8);
}

#[test]
fn continuations_score_as_whole_rows_on_tiled() {
    as_whole_rows(KernelFamily::Tiled);
}

#[test]
fn what_comes_next_has_the_logits_of_whole_rows() {
    let _turn = gpu::turn();
    let device = gpu::device(KernelFamily::Lane8);
    let cancel = CancelToken::new();
    let model = tiny(&device, "llama-mha-untied");
    let vocab = model.config().vocab;
    let wanted = [7, 0, vocab as u32 - 1];
    let rows: Vec<Vec<u32>> = [(50, 1, 12), (50, 2, 30), (50, 3, 1), (4, 4, 9), (4, 5, 3)]
        .into_iter()
        .map(|(given, end, len)| [ids(given, given as usize), ids(end, len)].concat())
        .map(|row| row.into_iter().map(|id| id % vocab as u32).collect())
        .collect();
    let mut together = generator(&model, 4, 128, KvFormat::F32);
    let found = together.next_logits(&rows, &wanted, None, &cancel).expect("sound rows");
    let mut alone = generator(&model, 1, 128, KvFormat::F32);
    for (row, found) in rows.iter().zip(&found) {
        let mut last = Vec::new();
        let on_rows = &mut |values: &[f32]| last = values[values.len() - vocab..].to_vec();
        alone.logits(row, None, &cancel, on_rows).expect("known ids");
        assert_eq!(*found, wanted.map(|id| last[id as usize]), "{} tokens", row.len());
    }
    let unknown = together.next_logits(&rows, &[vocab as u32], None, &cancel).expect_err("no such token");
    assert!(matches!(unknown, GenerateError::UnknownToken { .. }));
}

#[test]
fn what_cannot_be_scored_is_refused_by_row() {
    let _turn = gpu::turn();
    let device = gpu::open(&DeviceOptions::default());
    let mut generator = generator(&tiny(&device, "qwen2-bias"), 2, 32, KvFormat::F32);
    let cancel = CancelToken::new();
    let sound = Continuation { ids: vec![1, 2, 3], from: 2 };
    let mut refused = |ids: Vec<u32>, from| {
        let rows = [sound.clone(), Continuation { ids, from }];
        generator.continuation_stats(&rows, None, &cancel).expect_err("an unsound row is refused")
    };
    assert!(matches!(refused(vec![1, 2], 0), GenerateError::EmptyPrompt { request: 1 }));
    assert!(matches!(refused(vec![1; 33], 4), GenerateError::ContextOverflow { request: 1, .. }));
    assert!(matches!(refused(vec![1, 512], 1), GenerateError::UnknownToken { request: 1, place: 1, .. }));
    let nothing = Continuation { ids: vec![1, 2], from: 2 };
    let stats = generator.continuation_stats(&[nothing, sound], None, &cancel).expect("sound rows");
    assert_eq!(stats.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1]);
    cancel.cancel();
    let rows = [Continuation { ids: vec![1, 2], from: 1 }];
    let cancelled = generator.continuation_stats(&rows, None, &cancel).expect_err("it was cancelled");
    assert!(matches!(cancelled, GenerateError::Cancelled));
}
