#!/usr/bin/env bash
# The endpoint with nothing but curl. Start `make up` first.
set -euo pipefail
url="${LOOPWRIGHT_URL:-http://127.0.0.1:4100}"
key="${LOOPWRIGHT_API_KEY:-$(cat "${LOOPWRIGHT_HOME:-.loopwright}/admin.key")}"

ask() {
  curl --silent --show-error --fail --header "Authorization: Bearer $key" --header "Content-Type: application/json" "$@"
  echo
}

echo "# which models are there"
ask "$url/v1/models"

echo "# one answer"
ask "$url/v1/chat/completions" --data '{
  "model": "'"${1:-smollm2}"'",
  "messages": [{"role": "user", "content": "Say hello in French."}],
  "max_tokens": 16
}'

echo "# the same, streamed as server-sent events"
ask --no-buffer "$url/v1/chat/completions" --data '{
  "model": "'"${1:-smollm2}"'",
  "messages": [{"role": "user", "content": "Say hello in French."}],
  "max_tokens": 16,
  "stream": true
}'

echo "# the last two calls, as they were recorded"
ask "$url/api/calls?limit=2"
