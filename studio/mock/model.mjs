// A stand-in for the model and the reward model: it answers in canned sentences and follows a few
// principles by keyword, so that an edit is seen in the reply and in the scores.

const TOPICS = [
  [
    /sky/i,
    [
      "The sky looks blue because air scatters sunlight.",
      "Sunlight holds all colours, and the molecules of the air send the short, blue waves in every direction far more strongly than the long, red ones.",
      "So blue light reaches your eye from all parts of the sky, even where the sun is not.",
      "At sunset the light takes a longer way through the air, most of the blue has been scattered out of it, and what is left is orange and red.",
    ],
  ],
  [
    /run/i,
    [
      "Start with three short runs a week, and walk whenever you are out of breath.",
      "Run slowly enough that you could talk.",
      "Good shoes matter more than any other gear.",
      "Add no more than a tenth to the distance each week, so that tendons and bones can keep up with your lungs.",
    ],
  ],
  [
    /river/i,
    [
      "The Nile, the Rhine and the Mekong.",
      "The Nile made farming possible in a desert.",
      "The Rhine carries more freight than any other river in Europe.",
      "The Mekong feeds some sixty million people with its fish.",
    ],
  ],
];
const GENERAL = [
  "It depends on what you want to know.",
  "In short, there are several sides to it.",
  "The first one is the simplest, and it is enough for most people.",
  "The others matter when you look more closely.",
];
const VARIANTS = ["", "In other words, it is simpler than it seems.", "There is more to say about that.", "Many people find that surprising."];

const FOLLOWS = [
  { id: "short", asks: /\b(short|brief|concise|single|sentence or two)\b/i, score: (text) => 1.6 - text.length / 180 },
  { id: "long", asks: /\b(length|detail|detailed|several long)\b/i, score: (text) => text.length / 260 - 1 },
  { id: "question", asks: /\bquestion\b/i, score: (text) => (text.trim().endsWith("?") ? 1.4 : -0.9) },
  { id: "lively", asks: /\b(excited|exclamation|lively)\b(?!.*without)/i, score: (text) => (text.includes("!") ? 1.1 : -0.7) },
  { id: "list", asks: /\b(list|dash|bullet)/i, score: (text) => (/^- /m.test(text) ? 1.2 : -0.8) },
  { id: "greeting", asks: /\b(hello|greet)/i, score: (text) => (/^hello/i.test(text) ? 1.3 : -1) },
  { id: "warm", asks: /\b(warm|friend|kind)/i, score: (text) => (/friend|glad/i.test(text) ? 1.0 : -0.4) },
];
const behaviours = (principles) => new Set(principles.flatMap((p) => FOLLOWS.filter((f) => f.asks.test(p.definition) && !/without/i.test(p.definition)).map((f) => f.id)));

/** A small generator, so that a seed gives the same text each time (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function reply(question, principles, seed) {
  const draw = random(seed);
  if (/markdown/i.test(question)) return MARKDOWN;
  const follow = behaviours(principles);
  let sentences = [...(TOPICS.find(([asks]) => asks.test(question))?.[1] ?? GENERAL)];
  const variant = VARIANTS[Math.floor(draw() * VARIANTS.length)];
  if (variant) sentences.splice(2, 0, variant);
  if (draw() < 0.5) sentences.splice(1, 1);
  if (follow.has("short")) sentences = sentences.slice(0, draw() < 0.75 ? 1 : 2);
  if (follow.has("long")) sentences = [...sentences, ...GENERAL];
  if (follow.has("lively") && draw() < 0.85) sentences = sentences.map((s) => s.replace(/\.$/, "!"));
  let text = follow.has("list") && sentences.length > 1 ? sentences.map((s) => `- ${s}`).join("\n") : sentences.join(" ");
  if (follow.has("warm")) text = `I am glad that you ask, my friend. ${text}`;
  if (follow.has("greeting")) text = `Hello! ${text}`;
  if (follow.has("question") && draw() < 0.8) text += `${text.includes("\n") ? "\n\n" : " "}What made you wonder about it?`;
  return text;
}

const MARKDOWN = `## A heading

Some **bold** and *italic* text with \`code\`, a [link](https://example.org) and <script>alert(1)</script> as text.

1. First
2. Second
   - Nested

| river | km |
|---|--:|
| Nile | 6650 |
| Rhine | 1230 |

\`\`\`rust
fn main() { println!("hello"); }
\`\`\`

> A quotation. ![picture](https://example.org/p.png) [bad](javascript:alert(1)) &amp; more`;

/** The score of a reply under each principle, and under all by weight. */
export function score(text, principles) {
  const by_principle = principles.map((principle) => {
    const rule = FOLLOWS.find((f) => f.asks.test(principle.definition));
    const jitter = (random(text.length * 31 + principle.definition.length)() - 0.5) * 0.6;
    const value = rule ? rule.score(text) * (/without/i.test(principle.definition) ? -1 : 1) : 0.2;
    return round(value + jitter);
  });
  const weights = principles.map((p) => p.weight ?? 1);
  const total = weights.reduce((a, b) => a + b, 0);
  return { score: round(by_principle.reduce((sum, value, i) => sum + value * weights[i], 0) / (total || 1)), by_principle, certain: null };
}

const round = (value) => Math.round(value * 1000) / 1000;
export const pieces = (text) => text.match(/\s*\S+/g) ?? [];
