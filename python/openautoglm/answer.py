# SPDX-License-Identifier: Apache-2.0
"""What comes of a prompt. Plain values."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import _core


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer."""

    prompt_tokens: int
    cached_tokens: int  # of the prompt, found in the prefix cache
    completion_tokens: int


@dataclass(frozen=True)
class TokenLogprob:
    """A token and the natural log of its probability, before temperature and masks."""

    token_id: int
    logprob: float
    top: list[tuple[int, float]] = field(default_factory=list)  # the likeliest tokens, the first one first


@dataclass(frozen=True)
class Answer:
    """What the model wrote; `str(answer)` is its text."""

    text: str
    token_ids: list[int]
    finish_reason: str  # "stop", "length" or "cancelled"
    usage: Usage
    logprobs: list[TokenLogprob]  # of each token, when asked for
    queue_seconds: float
    prefill_seconds: float
    decode_seconds: float

    def __str__(self) -> str:
        return self.text


def answer_of(generation: _core.Generation) -> Answer:
    """The answer of a request that has ended."""
    queue, prefill, decode = generation.seconds
    return Answer(
        text=generation.text,
        token_ids=generation.token_ids,
        finish_reason=generation.finish_reason or "cancelled",
        usage=Usage(*generation.usage),
        logprobs=[TokenLogprob(*scored) for scored in generation.logprobs],
        queue_seconds=queue,
        prefill_seconds=prefill,
        decode_seconds=decode,
    )
