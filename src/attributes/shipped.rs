//! The attributes that ship with Parr, embedded in the program.

/// Name and text of every file in `attributes/`.
pub(super) const SHIPPED: &[(&str, &str)] = &[
    ("word", include_str!("../../attributes/word.toml")),
    ("layout", include_str!("../../attributes/layout.toml")),
    ("punctuation", include_str!("../../attributes/punctuation.toml")),
    ("length", include_str!("../../attributes/length.toml")),
    ("wording", include_str!("../../attributes/wording.toml")),
    ("register", include_str!("../../attributes/register.toml")),
    ("person", include_str!("../../attributes/person.toml")),
    ("opening", include_str!("../../attributes/opening.toml")),
    ("ending", include_str!("../../attributes/ending.toml")),
    ("language", include_str!("../../attributes/language.toml")),
    ("topic", include_str!("../../attributes/topic.toml")),
    ("tone", include_str!("../../attributes/tone.toml")),
    ("courtesy", include_str!("../../attributes/courtesy.toml")),
    ("safety", include_str!("../../attributes/safety.toml")),
    ("honesty", include_str!("../../attributes/honesty.toml")),
    ("request", include_str!("../../attributes/request.toml")),
    ("explanation", include_str!("../../attributes/explanation.toml")),
    ("time-place", include_str!("../../attributes/time-place.toml")),
];

/// Name and text of the constraints of IFBench, which are for evaluation only.
pub(super) const IFBENCH: (&str, &str) = ("ifbench", include_str!("../../attributes/ifbench.toml"));
