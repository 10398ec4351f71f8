"""Makes kinds.json: the templates in kinds/, rendered by `apply_chat_template` of `transformers`.

    pip install transformers jinja2
    python make_kinds.py

Each template is our own and has, in a few lines, what a kind of chat template does: tools, documents, reasoning,
parts of a message, text as HTML, strings and signs at tags. Each is rendered for all conversations.
"""

import json
import pathlib

import jinja2
import tokenizers
import transformers

HERE = pathlib.Path(__file__).parent

TOOLS = [
    {"type": "function", "function": {
        "name": "tides", "description": "When the sea is high, at <place> & 'time'.\nIn é.",
        "parameters": {"type": "object", "required": ["place"], "properties": {
            "place": {"type": "string", "enum": ["Brest", "Saint-Malo \"port\""]},
            "days": {"type": ["integer", "null"], "default": 2, "minimum": 0.5},
            "units": {"type": "array", "items": {"type": "string"}, "default": ["m"]},
            "hidden": {"type": "string"},
            "more": {"description": "anything"}}}}},
    {"type": "function", "function": {
        "name": "stop", "parameters": {"type": "object", "properties": {}}}},
]
DOCUMENTS = [
    {"title": "The moon", "text": " It pulls\nthe sea. "},
    {"doc_id": 7, "title": "The sun <2>", "text": "So does é it."},
]


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, id):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


CALLS = [
    turn("user", "High water?"),
    turn("assistant", None, tool_calls=[
        call("tides", {"place": "Brest é", "days": 1, "x": [1.0, None, True]}, "abcdef123"),
        call("stop", "{}", "abcdef124")]),
    turn("tool", "{\"at\": \"9:10\"}", name="tides", tool_call_id="abcdef123"),
    turn("tool", {"at": ["9:10", 2.5]}, tool_call_id="abcdef124"),
    turn("assistant", "At 9:10.", refusal=None),
    turn("user", "Thanks"),
]
REASONING = [
    turn("system", "Be brief. /no_think"),
    turn("user", "Why?"),
    turn("assistant", "<think>\nBecause of\n\nit.\n</think>\n\nThe moon."),
    turn("user", "And?"),
    turn("assistant", "<think>\n</think>The sun."),
]
CONVERSATIONS = {
    "one turn": ([turn("user", "Hi there!")], {}),
    "system message": ([turn("system", " Be brief.\n"), turn("user", "What is 2+2?")], {}),
    "several turns": ([turn("system", "S"), turn("user", " A "), turn("assistant", "B\n"), turn("user", "C")], {}),
    "unicode and signs": ([turn("user", "日本 é 🙂 <|im_end|> </s> {{ 1 }} <b>&'\"\\ \t\r\n\u2028 İß ")], {}),
    "tools": ([turn("user", "High water?")], {"tools": TOOLS}),
    "no tools": ([turn("user", "High water?")], {"tools": []}),
    "calls": (CALLS, {"tools": TOOLS}),
    "a call without an id": ([turn("user", "x"), turn("assistant", "", tool_calls=[call("stop", {}, "short")])], {}),
    "documents": ([turn("user", "Which?")], {"documents": DOCUMENTS}),
    "reasoning": (REASONING, {}),
    "reasoning off": (REASONING[1:4], {"enable_thinking": False}),
    "reasoning on": (REASONING[:4], {"enable_thinking": True}),
    "reasoning in a field": ([turn("user", "Why?"), turn("assistant", "So.", reasoning="Hm\n", name="x")], {}),
    "thinking in a field": ([turn("user", "Why?"), turn("assistant", "So.", thinking="Hm", reasoning_content=None)], {}),
    "parts": ([turn("user", [{"type": "text", "text": " What"}, {"type": "image"}, {"type": "text", "text": "is it?"}]),
               turn("assistant", [{"type": "text", "text": "A cat."}])], {}),
    "an unknown part": ([turn("user", [{"type": "smell"}])], {}),
    "two users": ([turn("user", "A"), turn("user", "B")], {}),
    "assistant first": ([turn("assistant", "I begin")], {}),
}


def cases():
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()), bos_token="<s>", eos_token="</s>")
    for path in sorted((HERE / "kinds").glob("*.jinja")):
        for name, (messages, variables) in CONVERSATIONS.items():
            for prompt in (False, True):
                case = {"template": path.name, "conversation": name, "add_generation_prompt": prompt}
                try:
                    case["text"] = tokenizer.apply_chat_template(
                        messages, chat_template=path.read_text(), tokenize=False,
                        add_generation_prompt=prompt, **variables)
                except Exception as error:  # What Python raises has many types.
                    if type(error) is jinja2.TemplateError:
                        case["raised"] = error.message
                    else:
                        case["failed"] = True
                yield case


if __name__ == "__main__":
    conversations = {name: {"messages": messages, "variables": variables}
                     for name, (messages, variables) in CONVERSATIONS.items()}
    output = {"conversations": conversations, "cases": list(cases())}
    (HERE / "kinds.json").write_text(json.dumps(output, ensure_ascii=False, indent=0) + "\n")
