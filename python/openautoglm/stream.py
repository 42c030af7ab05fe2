# SPDX-License-Identifier: Apache-2.0
"""An answer as it is written."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from .answer import Answer, answer_of

if TYPE_CHECKING:
    from . import _core

_MOMENT_SECONDS = 0.05  # an asynchronous wait lends a thread for so long


class Stream(Iterator[str], AsyncIterator[str]):
    """Yields pieces of text: `for piece in stream`, or `async for piece in stream`.

    A slow reader holds nobody up: what has come meanwhile is one piece. Leaving a `with` block, close() and the end of
    the object cancel what has not ended.
    """

    def __init__(self, generation: _core.Generation):
        self._generation = generation

    def __next__(self) -> str:
        piece = self._generation.next()
        if piece is None:
            raise StopIteration
        return piece

    async def __anext__(self) -> str:
        loop = asyncio.get_running_loop()
        try:
            piece: str | None = ""
            while piece == "":
                piece = await loop.run_in_executor(None, self._generation.next, _MOMENT_SECONDS)
        except asyncio.CancelledError:
            self.close()
            raise
        if piece is None:
            raise StopAsyncIteration
        return piece

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the answer where it is."""
        if not self._generation.is_finished:
            self._generation.cancel()

    def answer(self) -> Answer:
        """Waits for the end; the whole answer, with text that was read before."""
        self._generation.wait()
        return answer_of(self._generation)
