#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One whole answer, then one that streams.
set -eu
base_url=${BASE_URL:-http://127.0.0.1:8080/v1}
model=${MODEL:-smollm2}

curl -sS --fail-with-body "$base_url/chat/completions" -H 'Content-Type: application/json' -d "{
  \"model\": \"$model\", \"max_tokens\": 40,
  \"messages\": [{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}]}"
echo

curl -sS --fail-with-body -N "$base_url/chat/completions" -H 'Content-Type: application/json' -d "{
  \"model\": \"$model\", \"max_tokens\": 40, \"stream\": true,
  \"messages\": [{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}]}"
