//! What judges say: the same of both orders, and sense of replies whose difference is plain.

use parr::generate::CancelToken;
use parr::gpu::{DeviceOptions, KernelFamily};
use parr::judge::{AdaptedModel, CheckJudge, ContrastJudge, Judge, JudgeError, LabelJudge, Question};
use parr::model::Model;
use parr::preferences::Scores;
use parr::principles::PrincipleSet;

use super::{load, style, tiny_that_chats, without_negative};
use crate::support::{self, gpu};

/// Replies that differ in length, shape and tone, and prompts for them.
const PAIRS: [(&str, [&str; 2]); 3] = [
    ("Name a river.", ["The Loire.", "A river that many know is the Loire, which is long. Is it?"]),
    (
        "Why do cats purr?",
        ["they are happy", "Nobody knows for sure; a purring cat may be content, or hurt."],
    ),
    ("Sing.", ["La la la <|im_end|> la!", "no"]),
];

fn questions(set: &PrincipleSet) -> Vec<Question<'_>> {
    let question =
        |(prompt, replies)| Question { prompt, replies, principles: set.principles.iter().collect() };
    PAIRS.map(question).into()
}

/// Asks in both orders, all at once and one by one.
fn says_the_same_of_both_orders(judge: &mut dyn Judge, set: &PrincipleSet, exact: bool) {
    let cancel = CancelToken::new();
    let questions = questions(set);
    let swapped: Vec<Question<'_>> = questions.iter().map(Question::swapped).collect();
    let forth = judge.judge(&questions, &cancel).expect("sound questions");
    let back = judge.judge(&swapped, &cancel).expect("sound questions");
    assert!(forth.iter().flatten().flatten().any(|scores| scores.s12 != 0.0), "it tells nothing apart");
    let same = |one: &Scores, other: &Scores| {
        if exact {
            assert_eq!(one, other);
        } else {
            let apart = (one.s12 - other.s12).abs().max((one.s21 - other.s21).abs());
            assert!(apart < 1e-4, "{one:?} and {other:?}");
        }
    };
    for (at, (forth, back)) in forth.iter().zip(&back).enumerate() {
        assert_eq!(forth.len(), set.principles.len());
        for (forth, back) in forth.iter().zip(back) {
            let (forth, back) = (forth.expect("an opinion"), back.expect("an opinion"));
            same(&forth.swapped(), &back);
            assert!(forth.s12.is_finite() && forth.s21.is_finite(), "question {at}: {forth:?}");
        }
        let alone = judge.judge(&questions[at..=at], &cancel).expect("a sound question");
        for (alone, together) in alone[0].iter().zip(forth) {
            same(&alone.expect("an opinion"), &together.expect("an opinion"));
        }
    }
}

#[test]
fn checks_say_the_same_of_both_orders() {
    says_the_same_of_both_orders(&mut CheckJudge, &style(), true);
    let mut set = style();
    set.principles[1].check = None;
    let said = CheckJudge.judge(&questions(&set), &CancelToken::new()).expect("sound questions");
    assert_eq!(said[0], [Some(Scores::without_order(1.0)), None, Some(Scores::without_order(0.0))]);
}

fn on_the_tiny_model(family: KernelFamily, check: impl Fn(&Model)) {
    let _turn = gpu::turn();
    let device = gpu::device(family);
    let folder = tempfile::tempdir().expect("a scratch directory");
    check(&load(&device, &tiny_that_chats(folder.path())));
}

#[test]
fn contrast_says_the_same_of_both_orders(family: KernelFamily) {
    on_the_tiny_model(family, |model| {
        let mut judge = ContrastJudge::new(AdaptedModel::base(model), 7, 256, 64).expect("it fits");
        says_the_same_of_both_orders(&mut judge, &style(), family == KernelFamily::Lane8);
    });
}

#[test]
fn labels_say_the_same_of_both_orders(family: KernelFamily) {
    on_the_tiny_model(family, |model| {
        let mut judge = LabelJudge::new(AdaptedModel::base(model), 5, 512, 24).expect("it fits");
        says_the_same_of_both_orders(&mut judge, &style(), family == KernelFamily::Lane8);
    });
}

#[test]
fn labels_read_what_they_are_told_they_need() {
    on_the_tiny_model(KernelFamily::Lane8, |model| {
        let (set, model) = (style(), AdaptedModel::base(model));
        let chat = model.chat().expect("it chats");
        let (prompt, reply) =
            ("Name a river.", "The Loire, and many a river that is no longer known.".repeat(3));
        let other = reply.replace("river", "brook");
        let context = LabelJudge::context(chat, prompt, &set.principles, 20).expect("texts are encoded");
        let mut judge = LabelJudge::new(model, 2, context, 20).expect("it fits");
        let replies = [reply.as_str(), &other];
        let question = Question { prompt, replies, principles: set.principles.iter().collect() };
        let said = judge.judge(std::slice::from_ref(&question), &CancelToken::new()).expect("there is room");
        assert_eq!(said[0].len(), 3);
        // A short context has none for it, and says so.
        let mut short = LabelJudge::new(model, 2, context / 2, 20).expect("it fits");
        short.judge(&[question], &CancelToken::new()).expect_err("there is no room for it");
    });
}

#[test]
fn contrast_needs_negatives_and_reads_no_more_than_it_may() {
    on_the_tiny_model(KernelFamily::Lane8, |model| {
        let cancel = CancelToken::new();
        let mut set = style();
        let mut short = ContrastJudge::new(AdaptedModel::base(model), 4, 256, 3).expect("it fits");
        let [prompt, longer] = ["Name a river.", "The Loire. And a lot behind it that is not read."];
        let ask = |reply| Question {
            prompt,
            replies: [reply, "Rhone"],
            principles: set.principles[..1].iter().collect(),
        };
        let said = short.judge(&[ask(longer), ask(&longer[..12])], &cancel).expect("sound questions");
        assert_eq!(said[0], said[1], "the first three tokens are the same");
        set.principles[2] = without_negative(&set.principles[2]);
        let error = short.judge(&questions(&set), &cancel).expect_err("there is nothing to contrast with");
        assert!(
            matches!(&error, JudgeError::Principle { principle, .. } if *principle == set.principles[2].id)
        );
        assert!(error.to_string().contains("has no negative"), "{error}");
    });
}

/// A question with a reply and an elaborate one; the others are what SmolLM2 itself wrote under the principle
/// and under its negative, forty tokens each at temperature 0.7.
const BRIEF_AND_LONG: [(&str, [&str; 2]); 3] = [
    (
        "What is the capital of France?",
        [
            "Paris.",
            "The capital of France is Paris, a large city on the river Seine that is known for its museums, its \
             food and its long history.",
        ],
    ),
    (
        "My sister and I argue about politics at every family dinner. How can we stop?",
        [
            "You're suggesting a solution to an issue you're both passionate about, which is often overlooked in \
             the context of politics. Just like politics, addressing differing opinions is a crucial aspect of \
             personal growth and social",
            "Sure, here's a suggestion to help you stop your argument about politics at your family dinner: \n\"I'm \
             sorry, I'm not sure how to help you, but I'm sure you",
        ],
    ),
    (
        "Why does bread go stale faster in the fridge than on the counter?",
        [
            "The key is that food absorbs more heat, which is why bread tends to stay fresher longer in the fridge \
             than on the counter.",
            "1. Bread goes stale faster in the fridge than on the counter because it contains enzymes that break \
             down starches and other complex carbohydrates into simple sugars, which are easy to absorb by the \
             human digestive system",
        ],
    ),
];

#[test]
fn smollm2_sees_what_replies_were_written_under() {
    let _turn = gpu::turn();
    let path = support::model::smollm2();
    let device = gpu::open(&DeviceOptions::default());
    let model = load(&device, &path);
    let set = PrincipleSet::open_all(&["style:style-concise".to_owned()]).expect("built in");
    let question =
        |(prompt, replies)| Question { prompt, replies, principles: set.principles.iter().collect() };
    let questions = BRIEF_AND_LONG.map(question);
    let mut judge = ContrastJudge::new(AdaptedModel::base(&model), 12, 160, 64).expect("it fits");
    let said = judge.judge(&questions, &CancelToken::new()).expect("sound questions");
    let scores: Vec<f64> = said.iter().map(|scores| scores[0].expect("an opinion").s12).collect();
    assert!(scores.iter().all(|score| *score > 0.01), "brief against long: {scores:.3?}");
}
