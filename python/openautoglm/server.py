# SPDX-License-Identifier: Apache-2.0
"""The HTTP server in this process, for tests and notebooks."""
from __future__ import annotations

from collections.abc import Sequence

from . import _core


class Server:
    """The OpenAI API on a model's own engine. Made by AutoModel.serve(); stops at the end of a `with` block."""

    def __init__(self, model: _core.Model, *, host: str, port: int, api_keys: Sequence[str],
                 allowed_origins: Sequence[str], drain_seconds: int):
        self._core = _core.Server(
            model, host=host, port=port, api_keys=list(api_keys), origins=list(allowed_origins), drain_seconds=drain_seconds
        )
        self._host = f"[{host}]" if ":" in host else host

    @property
    def port(self) -> int:
        """The bound one."""
        return self._core.port

    @property
    def url(self) -> str:
        """Where it listens: "http://127.0.0.1:49152"."""
        return f"http://{self._host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What clients of the OpenAI API call base_url: url + "/v1"."""
        return f"{self.url}/v1"

    def stop(self) -> None:
        """Lets requests in flight end, up to drain_seconds, then closes. The model stays."""
        self._core.stop()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
