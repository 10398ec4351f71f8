# Two commands for a fresh Debian or Ubuntu with Rust; each does its own set-up (.ci/setup):
#
#   make chat    build, pull SmolLM2, talk to it
#   make test    build, pull SmolLM2, run every test, those on the GPU too
#
# Nothing is installed that is there already: a software Vulkan driver only where no GPU answers,
# pip only where the Hugging Face hub does not.

SHELL := /bin/bash
CARGO ?= cargo
BUILT := $${CARGO_TARGET_DIR:-target}

# Mesa's device selection layer asks the desktop, and complains where there is none.
export NODEVICE_SELECT ?= 1

.PHONY: chat test

chat:
	.ci/setup tools
	$(CARGO) build --release --locked
	.ci/setup gpu $(BUILT)/release/parr
	.ci/setup model $(BUILT)/release/parr
	$(BUILT)/release/parr chat smollm2

# The development profile: its dependencies are optimised where that counts (see Cargo.toml), and
# most of the time goes into the driver's compiler, which no profile of ours makes faster.
# `require` turns "skipped: no adapter" and "skipped: no model" into failures.
test:
	.ci/setup tools
	$(CARGO) test --locked --no-run
	.ci/setup gpu $(BUILT)/debug/parr
	.ci/setup model $(BUILT)/debug/parr
	GPU_TESTS=require PARR_TEST_MODEL=$${PARR_TEST_MODEL:-require} $(CARGO) test --locked
