#!/bin/bash
# Serves SmolLM2 with the program $1 and runs every client in this folder against it, in the environment $2.
set -eu
program=$1
python=$2/bin/python
here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp)
scratch=$(mktemp -d)
"$program" serve smollm2 --port 0 --context 1024 --slots 4 --runs "$scratch/runs" --principles "$scratch/principles" \
    >"$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$log" "$scratch"' EXIT
address=
for _ in $(seq 600); do
    address=$(sed -n 's/.*serving .* on \(http:[^ ]*\).*/\1/p' "$log" | head -1)
    [ -n "$address" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$log"; exit 1; }
    sleep 0.1
done
[ -n "$address" ] || { cat "$log"; echo "the server did not start"; exit 1; }
for client in "$here"/*.py; do
    "$python" "$client" "$address" "$program" || { tail -20 "$log"; exit 1; }
done
kill -TERM "$server"
wait "$server" || { echo "the server ended with $?"; exit 1; }
echo "all clients passed"
