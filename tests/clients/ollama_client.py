"""Ollama's own client against `parr serve`. The first argument is the address."""

import json
import sys

import ollama

client = ollama.Client(host=sys.argv[1])
question = [{"role": "user", "content": "Name a river."}]
options = {"seed": 4, "num_predict": 12}

model = client.list().models[0].model
whole = client.chat(model=model, messages=question, options=options)
text = whole.message.content
assert text and whole.done and whole.eval_count <= 12

parts = list(client.chat(model=model, messages=question, options=options, stream=True))
assert "".join(part.message.content for part in parts) == text
assert parts[-1].done

generated = client.generate(model=model, prompt="Name a river.", options=options)
assert generated.response == text

schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"]}
number = client.chat(model=model, messages=question, options={"seed": 1, "num_predict": 40}, format=schema)
assert isinstance(json.loads(number.message.content)["n"], int)

assert client.show(model).template

try:
    client.chat(model="missing", messages=question)
except ollama.ResponseError as error:
    assert error.status_code == 404 and "missing" in error.error
else:
    raise AssertionError("an unknown model was taken")

print("ollama: passed")
