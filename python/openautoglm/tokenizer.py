# SPDX-License-Identifier: Apache-2.0
"""A model's own tokenizer and chat template, exact as Hugging Face's. Neither needs the weights."""
from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from . import _core

Message = dict[str, Any]  # {"role": ..., "content": ...} and what else the API takes


class Tokenizer:
    """Text to token ids and back. Any thread."""

    def __init__(self, core: _core.Model):
        self._core = core

    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text.

        add_special_tokens: what the tokenizer puts before and after a text (a beginning-of-sequence token).
        parse_special: "<|end|>" and its like become the token; else they are text like any other.
        Raises InvalidArgumentError for a text that is no valid UTF-8 (a lone surrogate is a UnicodeEncodeError).
        """
        return self._core.encode(text, add_special_tokens, parse_special)

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of token ids. Raises InvalidArgumentError for an id that is not in the vocabulary."""
        return self._core.decode(list(ids), skip_special_tokens)

    @overload
    def apply_chat_template(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] | None = ...,
        add_generation_prompt: bool = ...,
        tokenize: Literal[True] = ...,
        **template_fields: Any,
    ) -> list[int]: ...
    @overload
    def apply_chat_template(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] | None = ...,
        add_generation_prompt: bool = ...,
        tokenize: Literal[False],
        **template_fields: Any,
    ) -> str: ...
    def apply_chat_template(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        tokenize: bool = True,
        **template_fields: Any,
    ) -> list[int] | str:
        """The prompt of a conversation, as token ids or, with tokenize=False, as text.

        Control tokens that a message spells stay text. Other keywords are fields of the template, as
        enable_thinking=False. Raises InvalidArgumentError when there is no template, or it refuses the messages.
        """
        make = self._core.encode_chat if tokenize else self._core.render_chat
        return make(
            json.dumps(list(messages)),
            None if tools is None else json.dumps(list(tools)),
            json.dumps(template_fields) if template_fields else None,
            add_generation_prompt,
        )

    def token_bytes(self, token_id: int) -> bytes:
        """What one token stands for in the middle of a text: bytes, which need not be whole characters."""
        return self._core.token_bytes(token_id)

    @property
    def vocab_size(self) -> int:
        """Tokens; a model's logits may be wider."""
        return self._core.vocab_size

    @property
    def has_chat_template(self) -> bool:
        """False for a base model."""
        return self._core.has_chat_template

    @property
    def bos_token_id(self) -> int | None:
        """The token that begins a sequence, if there is one."""
        return self._core.bos_token_id

    @property
    def eos_token_ids(self) -> list[int]:
        """Tokens that end an answer, as far as the tokenizer knows."""
        return self._core.eos_token_ids
