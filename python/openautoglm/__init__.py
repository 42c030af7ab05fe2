# SPDX-License-Identifier: Apache-2.0
"""Language models on CPUs, in this process: the engine that `openautoglm serve` runs.

    from openautoglm import AutoModel

    model = AutoModel.from_pretrained("smollm2")
    print(model.generate([{"role": "user", "content": "Why is the sky blue?"}], max_new_tokens=100))
"""
from ._core import set_log_level, version_text
from .agent import Agent, AgentRun, Step
from .answer import Answer, TokenLogprob, Usage
from .errors import Error, InvalidArgumentError, NotFoundError
from .model import AutoModel
from .server import Server
from .stream import Stream
from .tokenizer import Tokenizer
from .tools import Tool, tool

__all__ = [
    "Agent",
    "AgentRun",
    "Answer",
    "AutoModel",
    "Error",
    "InvalidArgumentError",
    "NotFoundError",
    "Server",
    "Step",
    "Stream",
    "TokenLogprob",
    "Tokenizer",
    "Tool",
    "Usage",
    "set_log_level",
    "tool",
    "version_text",
]
__version__ = "0.1.0"
