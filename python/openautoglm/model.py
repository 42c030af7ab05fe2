# SPDX-License-Identifier: Apache-2.0
"""The model: chosen by name, run by the engine of this process."""
from __future__ import annotations

import atexit
import json
import operator
import os
import shutil
import tempfile
import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union, overload

from . import _core
from .answer import Answer, answer_of
from .errors import Error
from .server import Server
from .stream import Stream
from .tokenizer import Message, Tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Text that the model goes on with, a conversation that it answers, or token ids.
Prompt = Union[str, Sequence[Message], Sequence[int]]
# A JSON schema: a dict, its JSON, or a class that has one (a pydantic model).
Schema = Union[Mapping[str, Any], str, type]

_live: weakref.WeakSet[AutoModel] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for model in list(_live):
        model.close()


class AutoModel:
    """A language model or an encoder. Made by from_pretrained(); any thread.

    What it is is known at once; its weights are loaded on first use, so that half() and quantize() cost nothing twice.
    Every call that takes long lets other threads run, and Ctrl-C ends it. Prompts that are given at the same time, in a
    list or from several threads, run as one batch; an answer does not depend on what runs beside it.
    """

    def __init__(self, core: _core.Model):
        self._core = core
        self._tokenizer = Tokenizer(core)
        self._generations: weakref.WeakSet[Any] = weakref.WeakSet()
        _live.add(self)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        threads: int = 0,
        context_length: int = 0,
        compute: str = "fast",
        kv_type: str = "f16",
        isa: str = "",
        kv_memory: str = "",
        max_batch_size: int = 32,
        max_batch_tokens: int = 512,
        prefix_cache: bool = True,
    ) -> AutoModel:
        """A model by its name, as `openautoglm pull` takes it, or by its path.

        name_or_path: "smollm2" (`openautoglm list --all` shows names), a GGUF file, a folder of safetensors,
            "hf:ORG/NAME[:FILE]", or "scripted:FILE". What is not here yet is pulled, with its progress on stderr;
            Ctrl-C keeps what has come.
        threads: of computing; 0 = the physical cores left to this process.
        context_length: of the longest sequence, in tokens; 0 = the model's own.
        compute: "fast" (may round activations, keys and values) or "exact" (float32 throughout).
        kv_type: of keys and values under "fast": "f16", or "int8" in half the memory.
        isa: forces an instruction set: "scalar", "avx2" or "avx512".
        kv_memory: reserved when the model is loaded, as "512M" or "2G"; "" = by the machine's memory.
        max_batch_size: sequences that run together; max_batch_tokens: rows of one step.
        prefix_cache: finds keys and values of earlier prompts again; changes times, never an answer.

        Raises NotFoundError, InvalidArgumentError (a checkpoint that cannot be run, and why), Error ("corrupt",
        "unavailable": no source could be reached, "exhausted": disk).
        """
        core = _core.Model(
            os.fspath(name_or_path),
            threads=threads,
            compute=compute,
            kv_type=kv_type,
            isa=isa,
            context_length=context_length,
            kv_memory=kv_memory,
            max_batch_size=max_batch_size,
            max_batch_tokens=max_batch_tokens,
            prefix_cache=prefix_cache,
        )
        return cls(core)

    # What it runs on.

    def half(self) -> AutoModel:
        """Keeps the weights of linear layers as float16 from the next use on, whatever the file holds. This model."""
        self._end_generations()
        self._core.keep_weights_as_f16()
        return self

    def quantize(
        self,
        dtype: str = "int8",
        *,
        output_dir: str | os.PathLike[str] | None = None,
        scheme: str = "symmetric",
        group_size: int | str | None = None,
        format: str | None = None,
    ) -> AutoModel:
        """Makes a smaller model of this one, and becomes it. The same as `openautoglm quantize`.

        dtype: "int8", "int4", "fp16" or "bf16".
        output_dir: where it is written, and stays; None = a temporary folder that goes with this object.
        scheme: "symmetric" or "asymmetric"; group_size: columns that share a scale, or "channel"; format: "gguf" or
            "safetensors". None = what is usual for the format, and the format of the model.

        Raises InvalidArgumentError (the format cannot hold what is asked for, or output_dir holds something already),
        Error ("exhausted": disk; "corrupt": a weight that is no number).
        """
        self._end_generations()
        output = os.fspath(output_dir) if output_dir is not None else self._temporary_folder()
        self._core.quantize(
            dtype,
            output,
            scheme=scheme,
            group="" if group_size is None else str(group_size),
            format=format or "",
            threads=0,
        )
        return self

    def _temporary_folder(self) -> str:
        folder = tempfile.mkdtemp(prefix="openautoglm-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return os.path.join(folder, self.name)

    def cpu(self) -> AutoModel:
        """This model: it runs on the CPU already."""
        return self

    def cuda(self, device: object = None) -> AutoModel:
        """Raises Error ("unavailable"): this build computes on the CPU."""
        sets = _core.instruction_sets()
        raise Error(
            "this build has no CUDA backend: it computes on the CPU, here with "
            f"{sets[-1]} (of {', '.join(sets)}) on {_core.usable_threads()} threads. Leave out .cuda(); "
            '.quantize("int8") makes a model faster here',
            "unavailable",
            "cuda",
        )

    def load(self) -> AutoModel:
        """Loads the weights now, where the first use would. Raises Error ("exhausted": memory). This model."""
        self._core.load()
        return self

    # Writing.

    @overload
    def generate(self, prompt: str, **options: Any) -> Answer: ...
    @overload
    def generate(self, prompt: Sequence[Message] | Sequence[int], **options: Any) -> Answer: ...
    @overload
    def generate(
        self, prompt: Sequence[str] | Sequence[Sequence[Message]] | Sequence[Sequence[int]], **options: Any
    ) -> list[Answer]: ...
    def generate(self, prompt: Any, **options: Any) -> Answer | list[Answer]:
        """The answer to a prompt, or a list of answers to a list of prompts, which run as one batch.

        prompt: a text that the model goes on with, messages that it answers ([{"role": "user", "content": ...}], by its
            chat template), or token ids, taken as they are.
        max_new_tokens: of the answer (256); 0 = as many as the context leaves.
        temperature: 1 draws from the model's own distribution, 0 takes the likeliest token (1.0; up to 2).
        top_k, top_p, min_p: draw among the likeliest k tokens (0 = all), among those of this total probability, among
            those with at least this share of the likeliest one's probability.
        repetition_penalty, frequency_penalty, presence_penalty, logit_bias ({token id: -100..100}).
        seed: the same seed gives the same answer; None = drawn anew.
        stop: a text, or up to 16, that end the answer and are not part of it; stop_token_ids: tokens that do.
        ignore_eos: goes on behind the model's own end.
        schema: a JSON schema that the answer will satisfy (a dict, its JSON, or a pydantic model).
        logprobs: log-probabilities of the answer's tokens, and of so many likeliest others (up to 20); None = no.
        skip_special_tokens: special tokens do not show in the text (True).

        Raises InvalidArgumentError (an argument out of range; a prompt that does not fit the context: both figures are
        named), Error ("exhausted": memory). Ctrl-C cancels what runs.
        """
        if _is_batch(prompt):
            return self._generate_all(prompt, options)
        generation = self._submit(prompt, **options)
        generation.wait()
        return answer_of(generation)

    def stream(self, prompt: Prompt, **options: Any) -> Stream:
        """The answer to one prompt as it is written: an iterator, and an asynchronous one. Options as generate()'s."""
        return Stream(self._submit(prompt, **options))

    def _generate_all(self, prompts: Sequence[Prompt], options: dict[str, Any]) -> list[Answer]:
        answers: list[Answer] = []
        running: deque[_core.Generation] = deque()

        def take_oldest() -> None:
            running[0].wait()
            answers.append(answer_of(running.popleft()))

        try:
            for prompt in prompts:
                if len(running) >= self._core.max_in_flight:
                    take_oldest()
                running.append(self._submit(prompt, **options))
            while running:
                take_oldest()
        finally:
            for generation in running:
                generation.cancel()
        return answers

    def _submit(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int = 256,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        logit_bias: Mapping[int, float] | None = None,
        seed: int | None = None,
        stop: str | Iterable[str] | None = None,
        stop_token_ids: Sequence[int] = (),
        ignore_eos: bool = False,
        schema: Schema | None = None,
        logprobs: int | None = None,
        skip_special_tokens: bool = True,
    ) -> _core.Generation:
        generation = self._core.submit(
            self._ids_of(prompt),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            frequency_penalty=frequency_penalty,
            presence_penalty=presence_penalty,
            logit_bias=list((logit_bias or {}).items()),
            seed=seed,
            stop=[stop] if isinstance(stop, str) else list(stop or ()),
            stop_token_ids=list(stop_token_ids),
            ignore_eos=ignore_eos,
            schema=None if schema is None else _schema_text(schema),
            logprobs=logprobs,
            skip_special_tokens=skip_special_tokens,
        )
        self._generations.add(generation)
        return generation

    def _ids_of(self, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            return self._tokenizer.encode(prompt)
        items = list(prompt)
        if items and isinstance(items[0], Mapping):
            return self._tokenizer.apply_chat_template(items)
        return [operator.index(item) for item in items]

    # Numbers.

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own; it is there before the weights are."""
        return self._tokenizer

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """What the model expects after each of these tokens: float32 [len(ids), vocab], before temperature.

        Row i is what follows ids[0..i]. The array is the memory that the engine wrote to, of 4 * len(ids) * vocab
        bytes. Raises InvalidArgumentError (no ids, one outside the vocabulary, as many as the context).
        """
        return self._core.logits([operator.index(i) for i in ids])

    def embed(self, texts: str | Sequence[str] | Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors of texts, of an encoder: float32 [len(texts), width], of length 1 when the model says so.

        texts: one text (then [1, width]), or a list of texts or of token ids; they run in batches without padding.
        Raises InvalidArgumentError (the model writes text; a text that is longer than the model's context).
        """
        batch = [texts] if isinstance(texts, str) else texts
        return self._core.embed([self._ids_of(text) for text in batch])

    # Serving.

    def serve(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_keys: Sequence[str] = (),
        allowed_origins: Sequence[str] = (),
        drain_seconds: int = 30,
    ) -> Server:
        """The OpenAI API over HTTP on this model's engine, from threads of its own. Port 0 is any free one.

        Raises Error ("unavailable": the port is taken; "permission_denied": another address than loopback without
        api_keys). Stop it before the model is closed.
        """
        return Server(
            self._core,
            host=host,
            port=port,
            api_keys=api_keys,
            allowed_origins=allowed_origins,
            drain_seconds=drain_seconds,
        )

    # What it is.

    @property
    def name(self) -> str:
        """As clients call it."""
        return self._core.name

    @property
    def path(self) -> str:
        """The file or folder that it is loaded from."""
        return self._core.path

    @property
    def is_encoder(self) -> bool:
        """It makes vectors and writes no text."""
        return self._core.is_encoder

    @property
    def num_parameters(self) -> int:
        """Weights; 0 for a script."""
        return self._core.parameters

    @property
    def is_loaded(self) -> bool:
        """The weights are in memory and the engine runs."""
        return self._core.is_loaded

    @property
    def context_length(self) -> int:
        """Tokens of the longest sequence, prompt and answer together. Loads the model."""
        return self._core.context_length

    @property
    def summary(self) -> str:
        """Several lines for people: weights, KV memory, instruction set. Loads the model."""
        return self._core.summary

    def __repr__(self) -> str:
        size = f", {self.num_parameters:,} parameters" if self.num_parameters else ""
        kind = self._core.architecture or "script"
        return f"<AutoModel {self.name}: {kind}{size}{'' if self.is_loaded else ', not loaded yet'}>"

    # The end.

    def _end_generations(self) -> None:
        for generation in list(self._generations):
            generation.cancel()

    def close(self) -> None:
        """Ends what runs and lets go of the weights. Later calls raise Error ("unavailable")."""
        self._end_generations()
        self._core.close()

    def __enter__(self) -> AutoModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_batch(prompt: Any) -> bool:
    if isinstance(prompt, str) or len(prompt) == 0:
        return False
    return not isinstance(prompt[0], Mapping) and not hasattr(prompt[0], "__index__")


def _schema_text(schema: Schema) -> str:
    if isinstance(schema, str):
        return schema
    made = getattr(schema, "model_json_schema", None)
    return json.dumps(made() if made is not None else schema)
