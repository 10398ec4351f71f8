# Commands for a fresh Debian or Ubuntu with Rust. Each command does its own set-up (.ci/setup).
#
#   make chat          build, pull SmolLM2, chat with it
#   make test          build, pull SmolLM2, run every test, including the GPU tests
#   make bindings      build and test the Python, Kotlin and Swift bindings whose toolchains are installed
#
#   make soak          serve SmolLM2 to 64 clients that misbehave, for ten minutes
#   make drivers       check every kernel on llvmpipe, on a newer Mesa and on SwiftShader, side by side
#   make ray           align SmolLM2 on Ray workers, of which one is killed, and compare the result with one process
#   make clients       serve SmolLM2 and run OpenAI's client, Ollama's and lm-evaluation-harness against it
#
# This needs Node 20 and Chromium (studio/README.md):
#
#   make studio        test the page Studio, then edit, chat and align in a browser against a server with SmolLM2
#
#   make lint          check formatting, lints, documentation and the built page; needs no GPU and no model
#
# This takes half an hour:
#
#   make proofs        perplexity against PyTorch, twenty kills of a whole run, ten minutes of each fuzz target
#
# These need a GPU, or hours:
#
#   make principles-model  train a reward model that reads any sentence, and measure it on sentences it has not seen
#   make reward-model  judge replies, train a reward model that reads principles, and evaluate it
#   make policies      train policies whose principles differ in one sentence, with the reward model smollm2-style
#   make steering      train policies under sentences that no training saw, with the reward model smollm2-principles
#
# This needs Python with the package rich:
#
#   make picture       record the terminal session that the README shows
#
# Set-up installs only what is missing: a software Vulkan driver if there is no GPU, and pip if the Hugging
# Face hub cannot be reached.

SHELL := /bin/bash
CARGO ?= cargo
BUILT := $${CARGO_TARGET_DIR:-target}

# Mesa's device selection layer asks the desktop, and prints errors if there is none.
export NODEVICE_SELECT ?= 1

.PHONY: chat lint test proofs bindings clients ray drivers soak studio principles-model reward-model policies steering picture

# The principles of the chat: a copy of the example, to edit.
CHAT := runs/chat/principles.toml

chat:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	mkdir -p runs/chat
	[ -e $(CHAT) ] || cp examples/chat/principles.toml $(CHAT)
	$(BUILT)/release/parr chat smollm2 --principles $(CHAT) --reward smollm2-principles --best-of 4 \
	    --temperature 0.8 --max-tokens 160

# Cargo.toml has the table of lints.
lint:
	.ci/setup tools
	.ci/setup lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) check --locked --manifest-path bindings/Cargo.toml --target-dir $(BUILT) -p parr-ffi
	@if ! command -v npm >/dev/null; then echo "skipped: whether studio/dist is up to date, which needs npm"; \
	    elif ! (cd studio && npm ci --silent --no-audit --no-fund); then \
	    echo "skipped: whether studio/dist is up to date; the packages could not be fetched"; \
	    else cd studio && npm run --silent check; fi
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --all-features

# The test profile optimises a little (see Cargo.toml). Most of the remaining time goes into the driver's
# compiler, which our profiles cannot make faster.
# Without `require` the tests that need a GPU or SmolLM2 are reported as ignored where there is none.
test:
	.ci/setup tools
	$(CARGO) test --locked --no-run
	.ci/setup gpu $(BUILT)/debug/parr
	.ci/setup model $(BUILT)/debug/parr
	.ci/setup headers
	@if [ -d $(BUILT)/bindings ]; then bindings/test; else \
	    echo "skipped: the bindings, which were never built here: make bindings"; fi
	GPU_TESTS=require PARR_TEST_MODEL=$${PARR_TEST_MODEL:-require} $(CARGO) test --locked

bindings:
	.ci/setup tools
	$(CARGO) build --locked
	.ci/setup gpu $(BUILT)/debug/parr
	.ci/setup model $(BUILT)/debug/parr
	bindings/test

# The clients come from PyPI, into an environment of their own. No data set is downloaded.
CLIENTS := $(BUILT)/clients

clients:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	[ -x $(CLIENTS)/bin/python ] || python3 -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet openai ollama 'lm-eval[api]'
	HF_DATASETS_OFFLINE=1 tests/clients/run.sh $(BUILT)/release/parr $(CLIENTS)

# The package is built and installed into an environment of its own, with Ray from PyPI.
RAY := $(BUILT)/ray

ray:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	[ -x $(RAY)/bin/python ] || python3 -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet './bindings/python[ray]'
	folder=$$(mktemp -d) && $(RAY)/bin/python tests/ray/workers.py "$$folder" && rm -rf "$$folder"

# The reports and the page stay in the folder.
drivers:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	tests/drivers/run.sh $(BUILT)/release/parr $(BUILT)/drivers

soak:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	tests/serve/soak.py $(BUILT)/release/parr

# The page's own tests run against a mock server. The story runs against the real one, and leaves a screenshot of each
# step in studio/screenshots/story/.
studio:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	parr=$$(realpath $(BUILT)/release/parr) && cd studio && npm ci && npm run check && npm test && \
	    npm run story -- "$$parr"

# PyTorch's f32 perplexity on Debian's copy of the GPL, version 3 (7639 tokens, chunks of 512, second
# halves). Ours must be within 0.05% with an f32 cache and within 0.3% with f16.
PROOF_TEXT := /usr/share/common-licenses/GPL-3
PROOF_PERPLEXITY := 18.3001

proofs:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	for proof in "f32 0.0005" "f16 0.003"; do \
	    set -- $$proof; \
	    found=$$($(BUILT)/release/parr perplexity --kv $$1 --json $(PROOF_TEXT) | sed -E 's/.*"perplexity": ?([0-9.]+).*/\1/') && \
	    awk -v found="$$found" -v wanted=$(PROOF_PERPLEXITY) -v bound="$$2" -v cache="$$1" 'BEGIN { \
	        apart = found / wanted - 1; if (apart < 0) apart = -apart; \
	        printf "%s cache: perplexity %.4f, %.4f%% from %s\n", cache, found, 100 * apart, wanted; \
	        exit !(apart <= bound) }' || exit 1; \
	done
	PARR_PROOF_KILLS=20 GPU_TESTS=require $(CARGO) test --locked salmon::killed
	PARR_PROOF_TOKENS=64 GPU_TESTS=require PARR_TEST_MODEL=require $(CARGO) test --locked model::golden
	PARR_PROOF_STEPS=4 GPU_TESTS=require PARR_TEST_MODEL=require $(CARGO) test --locked learn::golden
	command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --locked
	mkdir -p fuzz/corpus/{gguf,safetensors,config,chat_template,tokenizer}
	$(CARGO) fuzz run -s none gguf fuzz/corpus/gguf fuzz/seeds/gguf -- -max_total_time=600 -timeout=20
	$(CARGO) fuzz run -s none safetensors fuzz/corpus/safetensors fuzz/seeds/safetensors -- -max_total_time=600 -timeout=20
	$(CARGO) fuzz run -s none config fuzz/corpus/config fuzz/seeds/config -- -max_total_time=600 -timeout=20
	$(CARGO) fuzz run -s none chat_template fuzz/corpus/chat_template fuzz/seeds/chat_template tests/golden/chat -- -max_total_time=600 -timeout=20
	$(CARGO) fuzz run -s none tokenizer fuzz/corpus/tokenizer fuzz/seeds/tokenizer -- -max_total_time=600 -timeout=30 \
	    -max_len=16384

# Stages 1 and 2 of SALMON under principles that programs can check, with the settings in
# examples/reward-model/. An interrupted run resumes.
REWARD ?= runs/reward-model
# The qualities of replies that the model is trained on. All checkable qualities are in principles/style.toml.
QUALITIES := concise comprehensive bulleted bold ends-question emoji first-person exclamation

comma := ,
space := $(subst ,, )
# Arguments: a set of principles and the prefix of its ids. Result: the set with the ids for these qualities.
worded = $(1):$(subst $(space),$(comma),$(addprefix $(2)-,$(QUALITIES)))
LEARNED = $(call worded,style,style) $(call worded,style-plainer,plainer) $(call worded,style-further,further)

reward-model:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	mkdir -p $(REWARD)
	$(BUILT)/release/parr preferences --config examples/reward-model/edited.toml --principles $(LEARNED) \
	    --prompts examples/prompts.jsonl --out $(REWARD)/edited.jsonl
	$(BUILT)/release/parr reward train --config examples/reward-model/match.toml \
	    --principles $(LEARNED) --comparisons $(REWARD)/edited.jsonl --out $(REWARD)/matching --resume
	init=matching; for seed in 2 3; do \
	    $(BUILT)/release/parr reward train --config examples/reward-model/train.toml --init $(REWARD)/$$init --seed $$seed \
	        --principles $(LEARNED) --comparisons $(REWARD)/edited.jsonl --out $(REWARD)/negating-$$seed --resume \
	        || exit 1; \
	    init=negating-$$seed; \
	done
	init=negating-3; for seed in 4 5; do \
	    $(BUILT)/release/parr reward train --config examples/reward-model/train.toml --init $(REWARD)/$$init --seed $$seed \
	        --by-check --principles $(LEARNED) examples/reward-model/wordings.toml \
	        --comparisons $(REWARD)/edited.jsonl --out $(REWARD)/wording-$$seed --resume || exit 1; \
	    init=wording-$$seed; \
	done
	for wording in $(call worded,style,style) $(call worded,style-unseen,unseen); do \
	    $(BUILT)/release/parr reward eval --reward $(REWARD)/wording-5 --comparisons $(REWARD)/edited.jsonl \
	        --principles $$wording --by-check --limit 12 --html $(REWARD)/$${wording%%:*}.html \
	        --json > $(REWARD)/$${wording%%:*}.json || exit 1; \
	done

# A reward model that reads any sentence. SmolLM2 replies to prompts; programs edit and label the replies; the model
# learns to tell which sentences a reply keeps; then it is measured on replies to other prompts. Every step is
# resumed where it stopped.
PRINCIPLES ?= runs/principles-model
# Numbers of optimizer steps, with two replies each: of the first run two hours on two cores, of the second, whose data
# begins behind the pairs about single words, one hour.
STEPS ?= 2100
COUNTED ?= 960
plain = $(PRINCIPLES)/$(1)-prompts.jsonl --replies $(PRINCIPLES)/$(1)-replies.jsonl

principles-model:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	mkdir -p $(PRINCIPLES)
	head -n 270 examples/prompts.jsonl > $(PRINCIPLES)/train-prompts.jsonl
	tail -n +271 examples/prompts.jsonl > $(PRINCIPLES)/held-out-prompts.jsonl
	for part in train held-out; do \
	    to=$(PRINCIPLES)/$$part-replies.jsonl; [ -e $$to ] && continue; \
	    for seed in 5 6; do \
	        $(BUILT)/release/parr generate --jsonl $(PRINCIPLES)/$$part-prompts.jsonl --batch 16 --max-tokens 48 \
	            --temperature 0.8 --seed $$seed || exit 1; \
	    done > $$to.part && mv $$to.part $$to || exit 1; \
	done
	$(BUILT)/release/parr reward factory --prompts $(call plain,train) --count $$((2 * $(STEPS) * 26 / 25)) --seed 1 \
	    > $(PRINCIPLES)/labelled.jsonl
	$(BUILT)/release/parr reward train --config examples/principles-model/first.toml --steps $(STEPS) \
	    --labels $(PRINCIPLES)/labelled.jsonl --out $(PRINCIPLES)/first --resume
	$(BUILT)/release/parr reward factory --prompts $(call plain,train) --count $$((2 * $(COUNTED) * 26 / 25 + 480)) --seed 2 \
	    > $(PRINCIPLES)/more.jsonl
	tail -n +481 $(PRINCIPLES)/more.jsonl > $(PRINCIPLES)/counted.jsonl
	$(BUILT)/release/parr reward train --config examples/principles-model/train.toml --steps $(COUNTED) \
	    --init $(PRINCIPLES)/first --labels $(PRINCIPLES)/counted.jsonl --out $(PRINCIPLES)/run --resume
	$(BUILT)/release/parr reward sentences --reward $(PRINCIPLES)/run --prompts $(call plain,held-out) \
	    --json > $(PRINCIPLES)/sentences.json
	$(BUILT)/release/parr reward sentences --reward $(PRINCIPLES)/run --prompts $(call plain,held-out) \
	    --attributes attributes/ifbench.toml --json > $(PRINCIPLES)/ifbench.json

# Stage 3 with the shipped reward model: two pairs of policies. Both policies of a pair have the same settings and
# seed, and each has its own principle. Each policy is compared with the base on held-out prompts. The second
# pair is compared by how often replies end with a question.
POLICIES ?= runs/policies
TAUGHT := length/concise length/comprehensive ending/question ending/statement

policies:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	for policy in $(TAUGHT); do \
	    of=examples/policies/$${policy%/*}; out=$(POLICIES)/$${policy#*/}; mkdir -p $$out; \
	    $(BUILT)/release/parr align --config $$of/align.toml --reward reward-models/smollm2-style \
	        --principles examples/policies/$$policy.toml --prompts $$of/prompts.jsonl --out $$out --resume || exit 1; \
	    $(BUILT)/release/parr steer compare --principles examples/policies/$${policy/statement/question}.toml \
	        --prompts $$of/held-out.jsonl --adapter $$out --temperature 0.7 --max-tokens 128 --batch 24 --seed 1 \
	        --html $$out.html --json $$out.json || exit 1; \
	done

# Ten policies: one under each of five sentences, and one under each opposite. No training of the reward model has seen
# the sentences, and two of the attributes were held out. Programs count the replies to held-out prompts that have the
# attribute.
STEERING ?= runs/steering

steering:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	[ -e $(STEERING)/prompts ] || $(BUILT)/release/parr salmon init $(STEERING)/prompts
	for id in exclamation asks-back bullets contrast sequence; do \
	    for side in $$id !$$id; do \
	        out=$(STEERING)/$${side/!/not-}; principles=examples/steering/principles.toml:$$side; \
	        [ -e $$out.json ] && continue; \
	        $(BUILT)/release/parr align --config examples/steering/align.toml --reward smollm2-principles \
	            --principles $$principles --prompts $(STEERING)/prompts/prompts.jsonl --out $$out --resume || exit 1; \
	        $(BUILT)/release/parr steer compare --principles $$principles --reward smollm2-principles \
	            --prompts $(STEERING)/prompts/held-out.jsonl --adapter $$out --methods adapter --temperature 0.7 \
	            --max-tokens 96 --batch 20 --seed 1 --html $$out.html --json $$out.json || exit 1; \
	    done; \
	    for side in $$id not-$$id; do \
	        $(BUILT)/release/parr attributes rate $$id --comparison $(STEERING)/$$side.json || exit 1; \
	    done; \
	done

# The picture in the README: a real session.
picture:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup model $(BUILT)/release/parr
	docs/session.py $(BUILT)/release/parr
