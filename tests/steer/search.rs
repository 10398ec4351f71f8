//! Best of n and guided decoding against their definitions, on random weights.

use parr::generate::{CancelToken, Finish, Generator, Request, StopTokens};
use parr::gpu::DeviceOptions;
use parr::model::{LoadOptions, Model};
use parr::reward::{RewardModel, RewardOptions, ScoreRequest};
use parr::steer::{Answer, Ask, Search, SteerEvent, SteeredModel, Steering};

use super::{ask, open, options, scorer, tiny_that_chats};
use crate::adapter::adapter;
use crate::reward::rules;
use crate::support::gpu;

const QUESTION: &str = "Is it one?";

/// A model on a device, and a folder for its adapters.
fn bench() -> (tempfile::TempDir, Model) {
    let device = gpu::open(&DeviceOptions::default());
    let folder = tempfile::tempdir().expect("a scratch directory");
    let path = tiny_that_chats(folder.path());
    let model =
        Model::load(&device, &path, &LoadOptions::default(), &mut |_| {}).expect("a sound checkpoint");
    (folder, model)
}

fn steering(search: Search) -> Steering {
    Steering { search, ..Steering::new(rules()) }
}

/// Answers, and the text that was told on the way.
fn answer(steered: &mut SteeredModel, steering: &Steering, asks: &[Ask]) -> (Vec<Answer>, Vec<String>) {
    let mut told = vec![String::new(); asks.len()];
    let answers = steered.answer(steering, asks, &CancelToken::new(), &mut |progress| {
        if let SteerEvent::Text { ask, text } = progress {
            told[ask].push_str(text);
        }
    });
    (answers.expect("sound questions"), told)
}

/// The best of one is what is drawn without a search, and so is a reply guided by one candidate.
#[test]
fn one_candidate_is_a_plain_sample() {
    let _turn = gpu::turn();
    let (folder, model) = bench();
    let mut steered = open(&model, Some(&scorer(model.config(), folder.path())));
    let mut one = ask(&model, &steering(Search::Sample), QUESTION, 7, 21);
    // A penalty looks back over the ends of blocks.
    one.request.sampling.repetition_penalty = 1.3;
    let plain = Generator::new(&model, options())
        .expect("it fits")
        .generate(std::slice::from_ref(&one.request), &CancelToken::new(), &mut |_| {})
        .expect("a sound request")
        .swap_remove(0);
    assert_eq!(plain.tokens.len(), 21);
    for search in [Search::Sample, Search::BestOf { n: 1 }, Search::Guided { n: 1, block: 5 }] {
        let (answers, told) = answer(&mut steered, &steering(search), std::slice::from_ref(&one));
        let Answer { reply, choices, cost } = &answers[0];
        assert_eq!(reply.tokens, plain.tokens, "{search:?}");
        assert_eq!((&reply.text, &reply.finish), (&plain.text, &plain.finish), "{search:?}");
        assert_eq!(reply.prompt_tokens, plain.prompt_tokens);
        assert_eq!(told[0], plain.text, "{search:?} tells all of it");
        assert_eq!(cost.generated_tokens, 21);
        let blocks = if matches!(search, Search::Guided { .. }) { 5 } else { 1 };
        assert_eq!(choices.len(), blocks);
        assert_eq!(answers[0].score().is_some(), search != Search::Sample);
    }
}

#[test]
fn the_best_of_n_is_the_one_of_the_largest_score() {
    let _turn = gpu::turn();
    let (folder, model) = bench();
    let reward = scorer(model.config(), folder.path());
    let mut steered = open(&model, Some(&reward));
    let steering = Steering { scores: true, ..steering(Search::BestOf { n: 4 }) };
    let asks = [QUESTION, "Is it two?"].map(|text| ask(&model, &steering, text, 3, 12));
    let (answers, told) = answer(&mut steered, &steering, &asks);

    let mut by_itself =
        RewardModel::open(&model, &reward, &RewardOptions::default()).expect("it was written");
    let mut score = |prompt: &str, reply: &str, principles: Vec<&str>| {
        let question = ScoreRequest::new(prompt, reply, principles);
        by_itself.score(&[question], &CancelToken::new(), &mut |_| {}).expect("a sound question")[0].value
    };
    for ((one, ask), told) in answers.iter().zip(&asks).zip(&told) {
        let choice = one.last().expect("one choice");
        assert_eq!((one.choices.len(), choice.candidates.len()), (1, 4));
        let mut scores = Vec::new();
        for candidate in &choice.candidates {
            let value = score(&ask.question, &candidate.text, vec!["Say yes.", "Be loud!"]);
            let found = candidate.score.as_ref().expect("it says something").value;
            assert!((found - value).abs() <= 1e-4, "{found} in company, {value} alone");
            let alone = ["Say yes.", "Be loud!"].map(|one| score(&ask.question, &candidate.text, vec![one]));
            assert_eq!(candidate.by_principle.len(), 2);
            for (found, value) in candidate.by_principle.iter().zip(alone) {
                assert!((found - value).abs() <= 1e-4, "{found} in company, {value} alone");
            }
            scores.push(found);
            // The seed is enough to draw it again.
            let mut again = ask.request.clone();
            again.sampling.seed = candidate.seed;
            let (plain, _) =
                answer(&mut steered, &Steering::default(), &[Ask { request: again, ..ask.clone() }]);
            assert_eq!(plain[0].reply.text, candidate.text);
        }
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(scores.iter().any(|score| *score < most), "candidates differ: {scores:?}");
        assert_eq!(scores[choice.chosen], most);
        assert_eq!((one.score(), &one.reply.text), (Some(most), &choice.candidates[choice.chosen].text));
        assert_eq!(told, &one.reply.text);
        assert_eq!(one.cost.generated_tokens, 48);
        assert!(one.cost.scored_tokens > 0);
    }
}

#[test]
fn every_block_of_a_guided_reply_is_the_best_of_its_candidates() {
    let _turn = gpu::turn();
    let (folder, model) = bench();
    let mut steered = open(&model, Some(&scorer(model.config(), folder.path())));
    let steering = Steering { scores: true, ..steering(Search::Guided { n: 3, block: 4 }) };
    let asks = [QUESTION, "Is it two?"].map(|text| ask(&model, &steering, text, 9, 10));
    let (answers, told) = answer(&mut steered, &steering, &asks);
    for (one, told) in answers.iter().zip(&told) {
        assert_eq!(one.choices.iter().map(|choice| choice.candidates.len()).collect::<Vec<_>>(), [3; 3]);
        let reply = &one.reply;
        assert_eq!((reply.tokens.len(), reply.logprobs.len(), reply.sampling_logprobs.len()), (10, 10, 10));
        assert_eq!(one.reply.finish, Finish::Length);
        let mut kept = String::new();
        for choice in &one.choices {
            for candidate in &choice.candidates {
                assert!(candidate.text.starts_with(&kept), "all go on from what was kept");
            }
            let scores: Vec<f32> =
                choice.candidates.iter().map(|one| one.score.as_ref().expect("text").value).collect();
            assert!(scores.iter().all(|score| *score <= scores[choice.chosen]), "{scores:?}");
            kept = choice.candidates[choice.chosen].text.clone();
        }
        assert_eq!((&kept, told), (&one.reply.text, &one.reply.text));
        assert_eq!(one.cost.generated_tokens, 3 * 10);
        let last = one.last().expect("three choices");
        assert!(last.candidates.iter().all(|one| one.by_principle.len() == 2));
        assert!(one.choices[0].candidates.iter().all(|one| one.by_principle.is_empty()));
    }
    let unlike = answers[0].choices.iter().any(|choice| choice.chosen != 0);
    assert!(unlike, "some block of another seed than the first is kept");
}

/// Stop texts and ends of turns are found wherever a block ends.
#[test]
fn guided_replies_end_where_plain_ones_do() {
    let _turn = gpu::turn();
    let (folder, model) = bench();
    let mut steered = open(&model, Some(&scorer(model.config(), folder.path())));
    let free = ask(&model, &steering(Search::Sample), QUESTION, 5, 24);
    let (plain, _) = answer(&mut steered, &steering(Search::Sample), std::slice::from_ref(&free));
    let Answer { reply, .. } = &plain[0];
    let letters: Vec<char> = reply.text.chars().collect();
    let (middle, token) = (letters.len() / 2, reply.tokens[13]);
    let stop: String = letters[middle..middle + 3].iter().collect();
    let by_text = Request { stop: vec![stop.clone()], ..free.request.clone() };
    let by_token = Request { stop_ids: StopTokens::Only(vec![token]), ..free.request.clone() };
    let by_context = Request { max_tokens: 500, ..free.request.clone() };
    for (request, blocks) in [(by_text, &[1, 3, 64][..]), (by_token, &[1, 3, 64]), (by_context, &[64])] {
        let one = Ask { request, ..free.clone() };
        let (plain, _) = answer(&mut steered, &steering(Search::Sample), std::slice::from_ref(&one));
        for &block in blocks {
            let guided = steering(Search::Guided { n: 1, block });
            let (found, told) = answer(&mut steered, &guided, std::slice::from_ref(&one));
            let (found, plain) = (&found[0].reply, &plain[0].reply);
            assert_eq!((&found.text, &found.finish), (&plain.text, &plain.finish), "blocks of {block}");
            assert_eq!((&found.tokens, &told[0]), (&plain.tokens, &plain.text), "blocks of {block}");
        }
        let ended = &plain[0].reply.finish;
        assert!(*ended != Finish::Length, "{ended:?} is an end of its own");
    }
}

#[test]
fn the_same_seeds_give_the_same_answers_in_any_company() {
    let _turn = gpu::turn();
    let (folder, model) = bench();
    let mut steered = open(&model, Some(&scorer(model.config(), folder.path())));
    let searches = [Search::BestOf { n: 3 }, Search::Guided { n: 3, block: 4 }];
    for search in searches {
        let steering = steering(search);
        let asks = [(QUESTION, 1), ("Is it two?", 1), (QUESTION, 2)]
            .map(|(text, seed)| ask(&model, &steering, text, seed, 8));
        let (together, _) = answer(&mut steered, &steering, &asks);
        for (one, expected) in asks.iter().zip(&together) {
            let (alone, _) = answer(&mut steered, &steering, std::slice::from_ref(one));
            assert_eq!(alone[0].reply.tokens, expected.reply.tokens, "{search:?}");
            let seeds = |answer: &Answer| -> Vec<u64> {
                answer.choices[0].candidates.iter().map(|candidate| candidate.seed).collect()
            };
            assert_eq!(seeds(&alone[0]), seeds(expected));
        }
        assert_ne!(together[0].reply.tokens, together[2].reply.tokens, "seeds matter");
    }
}

/// One base, one bank: the adapter that answers is the one that answers alone, of another rank than the scorer.
#[test]
fn an_adapter_answers_beside_the_reward_model() {
    let _turn = gpu::turn();
    let (folder, model) = bench();
    let policy = adapter(model.config(), 8, 8.0, "q,v").weights;
    let reward = scorer(model.config(), folder.path());
    let mut alone = SteeredModel::open(&model, Some(&policy), None, options(), &RewardOptions::default())
        .expect("they fit");
    let reading = RewardOptions::default();
    let mut beside =
        SteeredModel::open(&model, Some(&policy), Some(&reward), options(), &reading).expect("they fit");
    let steering = steering(Search::Sample);
    let one = ask(&model, &steering, QUESTION, 2, 12);
    let of = |steered: &mut SteeredModel| {
        let mut one = one.clone();
        one.request.adapter = steered.policy();
        answer(steered, &steering, &[one]).0.swap_remove(0).reply
    };
    let (found, expected) = (of(&mut beside), of(&mut alone));
    assert_eq!(found.tokens, expected.tokens);
    let (base, _) = answer(&mut beside, &steering, std::slice::from_ref(&one));
    assert_ne!(base[0].reply.tokens, expected.tokens, "without its name the base answers");

    let cancel = CancelToken::new();
    let (policy, prompt) = (beside.policy(), &one.request.prompt);
    let drawn: f64 = found.logprobs.iter().map(|logprob| f64::from(*logprob)).sum();
    let read = beside.logprob(prompt, &found.tokens, policy, 1.0, &cancel).expect("known tokens");
    let of_base = beside.logprob(prompt, &found.tokens, None, 1.0, &cancel).expect("known tokens");
    assert!((drawn - read).abs() < 1e-2, "drawn at {drawn}, read at {read}");
    assert!((read - of_base).abs() > 0.1, "the base has another opinion: {of_base}");
}

#[test]
fn a_cancel_leaves_what_there_was() {
    let _turn = gpu::turn();
    let (folder, model) = bench();
    let mut steered = open(&model, Some(&scorer(model.config(), folder.path())));
    for search in [Search::BestOf { n: 3 }, Search::Guided { n: 3, block: 4 }] {
        let steering = steering(search);
        let one = ask(&model, &steering, QUESTION, 1, 12);
        let mut run = |stop_at: &mut dyn FnMut(&SteerEvent<'_>) -> bool| {
            let cancel = CancelToken::new();
            let answers = steered.answer(&steering, std::slice::from_ref(&one), &cancel, &mut |progress| {
                if stop_at(&progress) {
                    cancel.cancel();
                }
            });
            answers.expect("a cancel is no error").swap_remove(0)
        };
        let early = run(&mut |_| true);
        assert_eq!((&early.reply.finish, early.score()), (&Finish::Cancelled, None), "{search:?}");
        let mut drawn = 0;
        let late = run(&mut |progress| match (search, progress) {
            // All is drawn, and nothing is scored yet.
            (Search::BestOf { .. }, SteerEvent::Drawn) => {
                drawn += 1;
                drawn == 36
            }
            // One block is kept.
            (_, progress) => matches!(progress, SteerEvent::Text { .. }),
        });
        match search {
            Search::BestOf { .. } => {
                assert_eq!((&late.reply.finish, late.reply.tokens.len()), (&Finish::Length, 12));
                assert_eq!((late.score(), late.cost.scored_tokens), (None, 0));
            }
            _ => {
                assert_eq!((&late.reply.finish, late.reply.tokens.len()), (&Finish::Cancelled, 4));
                assert_eq!(late.choices.len(), 1);
            }
        }
    }
}
