#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The official client, unmodified: pip install openai."""
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ.get("BASE_URL", "http://127.0.0.1:8080/v1"), api_key=os.environ.get("API_KEY", "none"))
model = os.environ.get("MODEL", "smollm2")

for chunk in client.chat.completions.create(model=model, max_tokens=40, stream=True,
                                            messages=[{"role": "user", "content": "Why is the sky blue?"}]):
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
print()

schema = {"type": "object", "properties": {"river": {"type": "string"}, "country": {"type": "string"}},
          "required": ["river", "country"], "additionalProperties": False}
answer = client.chat.completions.create(
    model=model, max_tokens=60, messages=[{"role": "user", "content": "Name one river and its country as JSON."}],
    response_format={"type": "json_schema", "json_schema": {"name": "river", "schema": schema, "strict": True}})
print(answer.choices[0].message.content)
