"""Makes text_gemma.json and text_unigram.json: vocabularies of SentencePiece in the layouts of real models.

    pip install tokenizers sentencepiece protobuf
    python make_sentence_pieces.py

SentencePiece trains small vocabularies on the texts of make_pre_tokenizers.py, and the `tokenizers` library encodes
the texts with them. text_gemma.json has a vocabulary as GGUF files of Gemma carry it, with the ids of the
`tokenizer.json` of the same model. text_unigram.json has two whole `tokenizer.json` files with a Unigram model.
"""

import base64
import io
import json
import pathlib
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from make_pre_tokenizers import TEXTS

HERE = pathlib.Path(__file__).parent

# What SentencePiece's table does to some characters, as code points: compatibility forms, a ligature that becomes
# several characters, letters with a mark, and controls that vanish.
TABLE = """\
FB01\t66 69
FB02\t66 6C
FDFA\t635 644 649 20 627 644 644 647
2126\t3A9
212B\tC5
41 30A\tC5
65 301\tE9
65 302 301\t1EBF
2460\t31
FF11\t31
FF28\t48
FF76 FF9E\t30AC
3000\t20
A0\t20
9\t20
A\t20
D\t20
200B\t20
AD\t
7F\t
"""

# Tokens that Gemma matches as a whole: runs of line ends and of spaces, HTML.
WHOLE = ["\n" * count for count in range(1, 5)] + ["▁" * count for count in range(2, 9)]
WHOLE += ["<table>", "<b>", "</b>", "<div>", "</div>"]
TURNS = ["<start_of_turn>", "<end_of_turn>"]

MORE_TEXTS = [
    "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n", "<bos>a<eos>", "<b>bold</b>  <b>",
    "a<table>\n\n\n\n\n\nb",
    "x" + " " * 11 + "y", " " * 8, "\n" * 9 + " ", "  \n  \n", "<unk>", "<0x41>", "<pad>", "\n \n", "a  b   c    d",
    "<b", "></b",
]


def train(kind, vocab_size, **options):
    """A trained model, as a message of protocol buffers."""
    model = io.BytesIO()
    lines = [line for text in TEXTS * 2 for line in text.replace("\x00", "").split("\n") if line.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type=kind, vocab_size=vocab_size,
        hard_vocab_limit=False, split_digits=True, minloglevel=2, **options)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return proto


def merges(pieces):
    """All pairs that make a piece, the best first, as `transformers` converts such models."""
    ids = {piece.piece: id for id, piece in enumerate(pieces)}
    pairs = []
    for piece in pieces:
        text = piece.piece
        halves = [(text[:at], text[at:]) for at in range(1, len(text))]
        halves = [(left, right) for left, right in halves if left in ids and right in ids]
        halves.sort(key=lambda pair: (ids[pair[0]], ids[pair[1]]))
        pairs += [(piece.score, left, right) for left, right in halves]
    pairs.sort(key=lambda pair: (pair[0], len(pair[1]), len(pair[2])), reverse=True)
    return [(left, right) for _, left, right in pairs]


def gemma():
    proto = train(
        "bpe", 900, byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, character_coverage=0.98, pad_id=0,
        eos_id=1,
        bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>",
        user_defined_symbols=WHOLE, control_symbols=TURNS)
    pieces = list(proto.pieces)
    texts = [text for text in TEXTS + MORE_TEXTS if "▁" not in text]

    tokenizer = Tokenizer(models.BPE(
        vocab={piece.piece: id for id, piece in enumerate(pieces)}, merges=merges(pieces), unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    for piece in pieces:
        token = AddedToken(piece.piece, normalized=False)
        if piece.type in (2, 3):
            tokenizer.add_special_tokens([token])
        elif piece.type == 4:
            tokenizer.add_tokens([token])

    vocab = {
        "model": "llama", "pre": "default",
        # Converters write tokens that are matched as a whole with the spaces of a text.
        "tokens": [piece.piece.replace("▁", " ") if piece.type == 4 else piece.piece for piece in pieces],
        "scores": [piece.score for piece in pieces], "types": [piece.type for piece in pieces], "merges": [],
        "bos": 2, "eos": 1, "unk": 3, "add_space_prefix": False,
    }
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return {"vocab": vocab, "cases": [{"text": text, "ids": row} for text, row in zip(texts, ids)]}


def unigram(proto, normalizer, pre_tokenizer, decoder, byte_fallback, texts):
    pieces = [(piece.piece, round(piece.score, 4)) for piece in proto.pieces]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=byte_fallback))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, pre_tokenizer, decoder
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<late>"])
    cases = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    return {"tokenizer": json.loads(tokenizer.to_str()), "cases": cases}


def unigrams():
    texts = TEXTS + ["a<s>b</s> <late>", "<unk>", "<0x0A>", "\ufdfa", "\uff28\uff11\u3000\u2460"]
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as table:
        table.write(TABLE)
        table.flush()
        tabled = train("unigram", 400, normalization_rule_tsv=table.name, character_coverage=0.98)
    charsmap = base64.b64encode(tabled.normalizer_spec.precompiled_charsmap).decode()
    # As in models that began as T5 or XLM-R: a table, no repeated spaces, no bytes.
    xlm = unigram(
        tabled,
        normalizers.Sequence([
            normalizers.Precompiled(base64.b64decode(charsmap)), normalizers.Replace(Regex(" {2,}"), " ")]),
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
        decoders.Metaspace(replacement="▁", prepend_scheme="always"), False, texts)
    # As in Japanese models of LLaMA's type: every space counts, unknown characters are bytes.
    plain = train(
        "unigram", 700, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, character_coverage=0.98)
    japanese = unigram(
        plain, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None,
        decoders.Sequence([
            decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]), True,
            texts)
    return {"xlm": xlm, "japanese": japanese}


def write(name, value):
    (HERE / name).write_text(json.dumps(value, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write("text_gemma.json", gemma())
    write("text_unigram.json", unigrams())
