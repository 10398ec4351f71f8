"""OpenAI's own client against `parr serve`. The first argument is the address, such as http://127.0.0.1:8017."""

import json
import sys

from openai import BadRequestError, NotFoundError, OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="any", max_retries=0)
question = [{"role": "user", "content": "Name three rivers."}]

models = [model.id for model in client.models.list()]
assert models, "no models"
model = models[0]
assert client.models.retrieve(model).id == model

whole = client.chat.completions.create(model=model, messages=question, seed=7, max_tokens=24)
text = whole.choices[0].message.content
assert text and whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens

stream = client.chat.completions.create(
    model=model, messages=question, seed=7, max_tokens=24, stream=True, stream_options={"include_usage": True}
)
parts, usage = [], None
for chunk in stream:
    usage = chunk.usage or usage
    parts += [choice.delta.content or "" for choice in chunk.choices]
assert "".join(parts) == text, (parts, text)
assert usage.total_tokens == whole.usage.total_tokens, (usage, whole.usage)

scored = client.chat.completions.create(
    model=model, messages=question, temperature=0, max_tokens=8, logprobs=True, top_logprobs=2, n=2
)
for choice in scored.choices:
    entries = choice.logprobs.content
    assert bytes(byte for entry in entries for byte in entry.bytes).decode() == choice.message.content
    assert all(len(entry.top_logprobs) == 2 for entry in entries)

schema = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "coast": {"type": "boolean"}},
    "required": ["city", "coast"],
    "additionalProperties": False,
}
city = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "Describe a city."}],
    max_tokens=60,
    seed=1,
    response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
)
value = json.loads(city.choices[0].message.content)
assert set(value) == {"city", "coast"} and isinstance(value["coast"], bool), value

completion = client.completions.create(
    model=model, prompt="One, two, three,", max_tokens=6, temperature=0, logprobs=1, echo=True
)
choice = completion.choices[0]
assert choice.text.startswith("One, two, three,") and choice.logprobs.token_logprobs[0] is None

steered = client.chat.completions.create(
    model=model, messages=question, max_tokens=16, extra_body={"principles": "Be brief.\nBe kind."}
)
assert len(steered.parr["principles"]) == 2

for wrong, error in [
    (dict(model="missing", messages=question), NotFoundError),
    (dict(model=model, messages=question, temperature=-1), BadRequestError),
]:
    try:
        client.chat.completions.create(**wrong)
    except error as caught:
        assert caught.body["message"]
    else:
        raise AssertionError(f"{wrong} was taken")

print("openai: passed")
