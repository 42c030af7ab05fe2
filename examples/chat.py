#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A streamed answer with nothing but Python's own library."""
import json
import os
import urllib.request

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8080/v1")
body = {
    "model": os.environ.get("MODEL", "smollm2"),
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    "max_tokens": 40,
    "stream": True,
}
request = urllib.request.Request(f"{BASE_URL}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
with urllib.request.urlopen(request) as answer:
    for line in answer:
        text = line.decode().strip()
        if text.startswith("data: ") and text != "data: [DONE]":
            for choice in json.loads(text[len("data: "):])["choices"]:
                print(choice["delta"].get("content") or "", end="", flush=True)
print()
