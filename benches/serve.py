#!/usr/bin/env python3
"""Measures `parr serve` beside `parr bench`, on one machine in one run. Needs Python 3.9 and nothing else.

    benches/serve.py target/release/parr [MODEL]

Prints ratios:

* 16 streams together, against the decode rate of `parr bench --decode 16`;
* one stream, against the decode rate of `parr bench --decode 1`;
* the time to the first token of a new prompt of about 64 tokens while 8 others decode, against that time when the
  server is idle.
"""

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time

PORT = 8971
WORDS = "river stone cloud lamp paper green bread window garden winter orange silver".split()


def stream(prompt, max_tokens, seed, started=None):
    """Runs one streaming completion. Returns when it was sent, and the times of its tokens."""
    body = {
        "prompt": prompt, "max_tokens": max_tokens, "seed": seed, "stream": True, "temperature": 1, "logprobs": 0,
    }
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=900)
    sent = time.monotonic()
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"{response.status}: {response.read().decode()}")
    times = []
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        choices = json.loads(line[6:]).get("choices")
        if choices and choices[0].get("text"):
            times.append(time.monotonic())
            if started is not None and len(times) == 1:
                started.release()
    connection.close()
    return sent, times


def decode_rate(n, max_tokens):
    """Tokens per second of `n` streams while all of them run."""
    results = [None] * n

    def run(place):
        results[place] = stream(f"{WORDS[place % 12]} {place}: a list of many things:", max_tokens, place)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    begin = max(times[0] for _, times in results)
    end = min(times[-1] for _, times in results)
    return sum(begin < at <= end for _, times in results for at in times) / (end - begin)


def first_token(seed):
    """Seconds from the request to the first token of a prompt that the cache does not know."""
    prompt = " ".join(WORDS[(seed * 7 + place * place) % 12] for place in range(60)) + f" {seed}"
    sent, times = stream(prompt, 2, seed)
    return times[0] - sent


def first_token_while(n, rounds):
    """The same while `n` others decode."""
    started = threading.Semaphore(0)
    others = [
        threading.Thread(target=stream, args=(f"Story {place}:", 220, place, started)) for place in range(n)
    ]
    for thread in others:
        thread.start()
    for _ in range(n):
        started.acquire()
    found = [first_token(100 + place) for place in range(rounds)]
    alive = sum(thread.is_alive() for thread in others)
    for thread in others:
        thread.join()
    return found, alive


def bench(parr, model, decode):
    command = [parr, "bench", model, "--prefill", "64", "--decode", str(decode), "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return report


def main():
    parr = sys.argv[1]
    model = sys.argv[2] if len(sys.argv) > 2 else "smollm2"
    report = bench(parr, model, "1,16")
    rates = {row["sequences"]: row["tokens_per_second"] for row in report["decode"]}
    server = subprocess.Popen(
        [parr, "serve", model, "--port", str(PORT), "--slots", "16", "--context", "512", "--adapter-slots", "0"],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                time.sleep(0.2)
        stream("Warm up:", 4, 0)
        one = statistics.median(decode_rate(1, 64) for _ in range(3))
        many = statistics.median(decode_rate(16, 64) for _ in range(3))
        idle = statistics.median(first_token(place) for place in range(5))
        busy, alive = first_token_while(8, 3)
    finally:
        server.terminate()
        server.wait(60)
    print(f"{report['adapter']}, {model}")
    print(f"1 stream      {one:7.1f} tok/s, bench {rates[1]:7.1f}, ratio {one / rates[1]:.2f}")
    print(f"16 streams    {many:7.1f} tok/s, bench {rates[16]:7.1f}, ratio {many / rates[16]:.2f}")
    print(
        f"first token   {idle:7.2f} s idle, {statistics.median(busy):.2f} s beside 8 streams "
        f"({alive} still running), ratio {statistics.median(busy) / idle:.2f}"
    )


if __name__ == "__main__":
    main()
