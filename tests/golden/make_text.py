"""Makes text_byte_level.json, text_sentence_piece.json, text_chat.json and text_expressions.json.

    pip install tokenizers sentencepiece jinja2
    python make_text.py SmolLM2-135M-Instruct.Q4_1.gguf

The first is the start of SmolLM2's vocabulary with ids from the Python `regex` module and a plain
merge loop; the second a vocabulary that SentencePiece trains on the texts below, with its own ids;
the third renders the templates in chat/ by Jinja2 with the settings of `transformers`; the fourth
the short ones in chat_expressions.json, each of which shows what one operator, filter, test or
method does.
"""

import datetime
import io
import json
import pathlib
import struct
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox
import regex
import sentencepiece

HERE = pathlib.Path(__file__).parent
MERGES = 700

TEXTS = [case["text"] for case in json.loads((HERE / "tokenizer.json").read_text())]
TEXTS += [
    "a<|im_start|>b", "  two  spaces  ", "▁ is a character", "<s>hello</s>", "<unk>", "<0x41>",
    "x\u00a0y", "The the THE", "12 345", "\t\t", "…—“quotes”", "ａｂｃ", "🙂🙂", "a\u0301",
    "user<extra>defined<extra>",
]


def gguf_metadata(path):
    file = open(path, "rb")

    def read(fmt):
        return struct.unpack("<" + fmt, file.read(struct.calcsize("<" + fmt)))[0]

    def value(kind):
        if kind == 8:
            return file.read(read("Q")).decode()
        if kind == 9:
            inner, count = read("I"), read("Q")
            return [value(inner) for _ in range(count)]
        return read("BbHhIif?__Qqd"[kind])

    assert file.read(4) == b"GGUF"
    read("I"), read("Q")
    return {value(8): value(read("I")) for _ in range(read("Q"))}


def byte_alphabet():
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {**{b: chr(b) for b in shown}, **{b: chr(0x100 + i) for i, b in enumerate(hidden)}}


def encode_byte_level(text, ids, ranks, specials):
    alphabet = byte_alphabet()
    result = []
    for part in regex.split("(" + "|".join(map(regex.escape, specials)) + ")", text):
        if part in specials:
            result.append(ids[part])
            continue
        for run in regex.findall(r"\p{N}|\P{N}+", part):
            gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
            for word in regex.findall(gpt2, run):
                symbols = [alphabet[byte] for byte in word.encode()]
                while True:
                    pairs = [(ranks.get(pair, 1 << 30), at)
                             for at, pair in enumerate(zip(symbols, symbols[1:]))]
                    rank, at = min(pairs, default=(1 << 30, 0))
                    if rank == 1 << 30:
                        break
                    symbols[at:at + 2] = ["".join(symbols[at:at + 2])]
                result += [ids[symbol] for symbol in symbols if symbol in ids]
    return result


def byte_level(path):
    meta = gguf_metadata(path)
    tokens, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    count = len(tokens) - len(meta["tokenizer.ggml.merges"]) + MERGES
    merges = meta["tokenizer.ggml.merges"][:MERGES]
    ids = {token: id for id, token in enumerate(tokens[:count])}
    specials = [token for token, kind in zip(tokens[:count], types) if kind == 3]
    ranks = {tuple(line.split(" ")): rank for rank, line in enumerate(merges)}
    return {
        "vocab": {
            "model": "gpt2",
            "pre": "smollm",
            "tokens": tokens[:count],
            "types": types[:count],
            "merges": merges,
            "bos": 1,
            "eos": 2,
        },
        "cases": [{"text": text, "ids": encode_byte_level(text, ids, ranks, specials)}
                  for text in TEXTS],
    }


def sentence_piece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in TEXTS * 3 for line in text.split("\n") if line]),
        model_writer=model, model_type="bpe", vocab_size=520, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, user_defined_symbols=["<extra>"],
        split_digits=True, character_coverage=0.98, minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())

    def kind(id):
        if processor.is_unknown(id):
            return 2
        if processor.is_control(id):
            return 3
        if processor.is_byte(id):
            return 6
        return 4 if processor.id_to_piece(id) == "<extra>" else 1

    count = processor.get_piece_size()
    scores = [processor.get_score(id) for id in range(count)]
    # Equal scores are legal, and what sets the queue's order apart from a table of merges.
    return {
        "vocab": {
            "model": "llama",
            "pre": "",
            "tokens": [processor.id_to_piece(id) for id in range(count)],
            "scores": scores,
            "types": [kind(id) for id in range(count)],
            "merges": [],
            "bos": processor.bos_id(),
            "eos": processor.eos_id(),
            "unk": processor.unk_id(),
        },
        "cases": [{"text": text, "ids": processor.encode(text)} for text in TEXTS],
    }


CONVERSATIONS = [
    [("user", "Hi")],
    [("system", "Be brief."), ("user", "What is 2+2?")],
    [("user", " A "), ("assistant", "B\n"), ("user", "C")],
    [("system", "S"), ("user", "A"), ("assistant", "B"), ("user", "C"), ("assistant", "D")],
    [("user", "{{ 1 + 1 }} {% raise %} <b> & 'x' \"y\" é")],
    [("assistant", "I begin")],
    [("user", "A"), ("user", "B")],
]


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def environment():
    def raise_exception(message):
        raise jinja2.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = datetime.datetime(2024, 7, 26).strftime
    return environment


def expressions():
    """The text that each short template writes; none for one that does not compile or fails."""
    conversation = [
        ("user", "Hello World\nline two  "),
        ("assistant", "<think>\nhmm\n</think>\n\nHi <b>é</b> 日本"),
        ("user", "x"),
    ]
    messages = [{"role": role, "content": content} for role, content in conversation]
    cases = []
    for source in json.loads((HERE / "chat_expressions.json").read_text()):
        case = {"template": source, "text": None}
        try:
            case["text"] = environment().from_string(source).render(
                messages=messages, add_generation_prompt=True, bos_token="<s>", eos_token="</s>",
                tools=None, documents=None)
        except Exception:  # What Python raises has many types; for the test it only matters that it does.
            pass
        cases.append(case)
    return {"messages": messages, "cases": cases}


def chat():
    cases = []
    for path in sorted((HERE / "chat").glob("*.jinja")):
        template = environment().from_string(path.read_text())
        for turns in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in turns]
            for prompt in (False, True):
                case = {"template": path.name, "messages": messages, "add_generation_prompt": prompt}
                try:
                    case["text"] = template.render(
                        messages=messages, add_generation_prompt=prompt, bos_token="<s>",
                        eos_token="</s>", tools=None, documents=None)
                except jinja2.TemplateError as error:
                    case["refused"] = error.message
                cases.append(case)
    return cases


def write(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    write("text_byte_level.json", byte_level(sys.argv[1]))
    write("text_sentence_piece.json", sentence_piece())
    write("text_chat.json", chat())
    write("text_expressions.json", expressions())
