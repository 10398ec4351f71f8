"""Log-probabilities of llama.cpp by way of the package `xllamacpp`, for tests/adapter/python.rs.

Arguments: a GGUF model, and optionally a GGUF adapter. Prints a JSON object: token id to log-probability,
of the likeliest tokens after a fixed prompt.
"""

import json
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 256
params.n_parallel = 1
params.warmup = False
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
if len(sys.argv) > 2:
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(sys.argv[2], 1.0)]
server = xllamacpp.Server(params)
prompt = {"prompt": "The capital of France is", "n_predict": 1, "n_probs": 40, "temperature": 0.0}
reply = server.handle_completions(prompt)
reply = json.loads(reply) if isinstance(reply, (str, bytes)) else reply
reply = reply[0] if isinstance(reply, list) else reply
if "completion_probabilities" in reply:
    tokens = reply["completion_probabilities"]
else:
    tokens = reply["choices"][0]["logprobs"]["content"]
print(json.dumps({str(token["id"]): token["logprob"] for token in tokens[0]["top_logprobs"]}))
