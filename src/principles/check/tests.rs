use super::*;

fn check(name: &str) -> Check {
    Check::from_name(name).unwrap_or_else(|| panic!("no check `{name}`"))
}

/// Replies that keep the principle, and replies that break it.
const CASES: &[(&str, &[&str], &[&str])] = &[
    (
        "bullets",
        &["Tea:\n- green\n  * black", "\u{2022} a\n\u{2022} b"],
        &["- one", "-a\n-b", "2 - 1 - 1", "```\n- a\n- b\n```"],
    ),
    (
        "numbered-steps",
        &["1. Boil\n2. Pour", "Do:\n  1) a\n\n  2) b\n  3) c"],
        &["1. Boil", "2. Pour\n1. Boil", "1. a\n2) b", "1.5 litres\n2.5 litres", "In 1. and 2."],
    ),
    (
        "plain-text",
        &["Boil water.\n\nIt costs 3.50 - 1.50 euros.", "", "*italic*"],
        &["- a", "1. a", "2) b", "# Tea", "| a | b |", "a **b**", "__b__", "`c`", "```\nc\n```"],
    ),
    (
        "headings",
        &["# Tea\nHot.", "Tea\n  ###### Cups\n"],
        &["#tea", "####### Tea", "Use C# here", "```\n# x\n```"],
    ),
    ("bold", &["a **b** c", "__all__"], &["**", "****", "a ** b", "*a*", "**a\nb**"]),
    ("several-paragraphs", &["a\n\nb\n\nc", "a\nb\n \nc\n\n\nd"], &["a\nb\nc", "a\n\nb\n\n\n"]),
    (
        "ends-with:question",
        &["Tea. And you?", "(\"Really?\") ", "**Well?** \u{1F642}", "¿Y tú?", "Why? \u{2764}\u{FE0F}"],
        &["Why? Because.", "?!", ""],
    ),
    (
        "ends-with:summary",
        &[
            "Tea is hot. In summary, wait.",
            "Tea is hot.\n\n**In conclusion**, wait. Then drink.",
            "a b.\n- To sum up: wait",
            "Hot tea. All in all, good.",
            "Hot tea.\nOverall it is good.",
        ],
        &[
            "In summary, wait.",
            "In short, wait. Then drink.",
            "It is hot. Overalls are worn.",
            "It is good overall.",
        ],
    ),
    (
        "ends-with:offer",
        &[
            "Wait. Let me know!",
            "Wait.\nFeel free to ask. Bye!",
            "I\u{2019}m happy to help.",
            "Ask me if you have any other questions.",
            "If you have  further\nquestions... If you have further questions, ask.",
            "How else can I help?",
        ],
        &["Feel free to ask. First, wait. Then drink.", "If you have questions, ask.", "Let me. Know.", ""],
    ),
    (
        "opens-with:greeting",
        &[
            "Hello! Tea is hot.",
            "**Hi** there",
            "\"Dear Ann,\nthanks",
            "Good evening, all",
            "Hey\u{2014}wait",
        ],
        &["Tea. Hello!", "Hiking is good", "Good tea", "Highly rated"],
    ),
    (
        "opens-with:question",
        &["Why tea? It is hot.", "**What now?** Wait."],
        &["It is hot. Why?", "Tea?s", ""],
    ),
    (
        "opens-with:in-short",
        &["In short: wait.", "\"**In short** it"],
        &["To put it in short", "Wait. In short, wait.", "In shorts"],
    ),
    (
        "first-person",
        &["I am", "so, I'm here", "ask me.", "(my tea)", "tea\u{2014}mine", "as i said"],
        &["It is. In India.", "i.e. tea", "A.I.", "Mymy"],
    ),
    (
        "second-person",
        &["You see", "it\u{2019}s yours!", "if you\u{2019}re in", "and/or your tea"],
        &["Young youth", "we"],
    ),
    (
        "contains-example",
        &[
            "Tea, for example.",
            "For  Instance,",
            "tea (e.g. green)",
            "drinks such as tea",
            "**Example**: tea",
            "Example: tea",
        ],
        &["such assistance", "an example of tea", "for examples", "egg."],
    ),
    ("no-digits", &["three cups", "half: \u{BD}", ""], &["3 cups", "\u{0663}", "H2O", "\u{FF11}"]),
    (
        "hedged",
        &["Perhaps.", "it **might** work", "It (possibly) is"],
        &["mighty", "unlikely", "It is.", "couldn't"],
    ),
    (
        "contractions",
        &["don't", "Don\u{2019}t go", "It's hot", "we'll", "I'd", "\"they've\""],
        &["do not", "the cat's tea", "cats'", "rock 'n' roll"],
    ),
    (
        "exclamation",
        &["Great!", "Wow! Tea.", "(Yes!)", "Yes!!", "**Go!** now", "Hot!\u{1F525}", "Hi!\""],
        &["a != b", "Call `stop!` now", "```\nx!\n```", "![cup](cup.png)", "Hot."],
    ),
    (
        "emoji",
        &["Tea \u{1F375}", "\u{2764}\u{FE0F}", "1\u{FE0F}\u{20E3}", "\u{1F1EB}\u{1F1F7}"],
        &["\u{2764} (text)", ":-)", "\u{A9} 3 \u{2192}", "\u{FE0F}"],
    ),
    ("lowercase", &["all small.", "3 cups, é"], &["Tea", "iPhone", "3", "\u{416}"]),
    (
        "language:es",
        &["El agua hierve a cien grados."],
        &["Water boils at a hundred degrees.", "A água ferve a cem graus.", "42"],
    ),
];

#[test]
fn each_check_tells_keeping_from_breaking() {
    let mut wrong = Vec::new();
    for (name, kept, broken) in CASES {
        for (replies, expected) in [(kept, true), (broken, false)] {
            for reply in *replies {
                if check(name).keeps(reply) != Some(expected) {
                    wrong.push(format!("{name}: {reply:?} is not {expected}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (name, _) in SINGLES {
        assert!(CASES.iter().any(|(case, ..)| case == name), "no case for {name}");
    }
}

#[test]
fn pairs_are_compared_and_ties_are_ties() {
    for (name, better, worse) in [
        ("shorter", "Tea is hot.", "Tea is very hot."),
        ("longer", "Tea is\nvery hot today.", "Tea is hot today"),
        ("short-sentences", "Tea is hot. Wait. Then drink it with me.", "Tea is hot, so wait."),
        ("short-sentences", "- Tea\n- Cups\n- Milk", "Tea, cups, milk"),
        ("emoji", "\u{1F375}", "tea"),
        ("language:de", "Der Tee ist noch zu heiß.", "The tea is too hot yet."),
    ] {
        let check = check(name);
        assert_eq!(check.compare(better, worse), Ordering::Greater, "{name}");
        assert_eq!(check.compare(worse, better), Ordering::Less, "{name}");
        assert_eq!(check.compare(better, better), Ordering::Equal, "{name}");
    }
    assert_eq!(check("shorter").keeps("tea"), None, "one reply is neither short nor long");
    assert_eq!(check("bold").compare("tea", "cup"), Ordering::Equal);
    for name in ["shorter", "longer", "short-sentences"] {
        assert_eq!(
            check(name).compare("Tea is hot and sweet.", "Tea is hot and very sweet."),
            Ordering::Equal
        );
    }
}

/// The schema is what authors of principles read.
#[test]
fn the_schema_documents_every_check() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../principles/schema.json")).expect("JSON");
    let documented: Vec<&str> = schema["$defs"]["check"]["anyOf"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|check| check["const"].as_str())
        .collect();
    let names: Vec<String> =
        Check::all().map(Check::name).filter(|name| !name.starts_with(LANGUAGE)).collect();
    assert_eq!(documented, names);
    assert!(Check::all().all(|check| Check::from_name(&check.name()) == Some(check)));
    for name in ["", "language:", "language:xx", "Bold", "bold "] {
        assert_eq!(Check::from_name(name), None, "{name}");
    }
}

#[test]
fn the_language_of_every_prompt_that_comes_with_parr_is_told() {
    let mut wrong = Vec::new();
    let text = include_str!("../../../examples/prompts.jsonl");
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let (code, prompt) =
            (row["language"].as_str().expect("a code"), row["prompt"].as_str().expect("text"));
        let found = language(prompt).map(Language::code);
        if found != Some(code) {
            wrong.push(format!("{code}, not {found:?}: {prompt}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), text.lines().count(), wrong.join("\n"));
}

#[test]
fn languages_are_told_by_script_and_nothing_is_guessed() {
    let code = |text: &str| language(text).map(Language::code);
    for (text, expected) in [
        ("Чай слишком горячий", Some("ru")),
        ("Το τσάι είναι ζεστό", Some("el")),
        ("茶太热了，请等一下。", Some("zh")),
        ("お茶が熱すぎます。", Some("ja")),
        ("차가 너무 뜨거워요", Some("ko")),
        ("الشاي ساخن جدا", Some("ar")),
        ("תה חם מדי", Some("he")),
        ("ชาร้อนเกินไป", Some("th")),
        ("चाय बहुत गरम है", Some("hi")),
        ("Das Wort \u{427}\u{430}\u{439} heißt Tee und steht hier als ein Beispiel.", Some("de")),
        // Unknown languages, and text in no language.
        ("Çay çok sıcak, lütfen biraz bekleyin ve sonra için.", None),
        ("Tee on liian kuumaa, odota vielä hetki ennen kuin juot sitä.", None),
        ("", None),
        ("42 + 1 = 43", None),
        ("OK", None),
        ("```\nfor the tea in the cups and not on the table\n```", None),
    ] {
        assert_eq!(code(text), expected, "{text}");
    }
}

#[test]
fn a_language_is_known_by_its_code() {
    let codes: Vec<&str> = Language::all().map(Language::code).collect();
    assert_eq!(codes[..3], ["en", "de", "es"]);
    let mut unique = codes.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), codes.len());
    assert!(codes.iter().all(|code| Language::from_code(code).map(Language::code) == Some(code)));
    assert_eq!(Language::from_code("xx"), None);
}
