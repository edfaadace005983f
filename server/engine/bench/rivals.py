"""The same work done by others: transformers' `generate`, and any OpenAI-compatible server."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

from server import wire
from server.dtypes import DTYPES
from server.engine.bench.driver import Work

_FIRST_TOKEN, _LAST_TOKEN = 1000, 40000


def _prompts(batch: int, num_tokens: int, seed: int) -> list[list[int]]:
    chosen = random.Random(seed)
    return [[chosen.randrange(_FIRST_TOKEN, _LAST_TOKEN) for _ in range(num_tokens)] for _ in range(batch)]


def time_transformers(folder: Path, dtype: str, work: Work, device: str) -> list[dict[str, float]]:
    """`generate` in this process, on all its cores or, where `device` is no "cpu", one GPU: batch by batch."""
    import torch
    from transformers import AutoModelForCausalLM

    place = torch.device("cpu" if device == "cpu" else "cuda")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, DTYPES[dtype].compute)).eval()
    model.to(place)
    model.generation_config.eos_token_id = None
    drawn = drawing(work.sampling)

    def seconds(ids: torch.Tensor, new_tokens: int) -> float:
        started = time.perf_counter()
        model.generate(ids.to(place), max_new_tokens=new_tokens, pad_token_id=0, **drawn).cpu()
        return time.perf_counter() - started

    results = []
    for batch in work.batches:
        ids = torch.tensor(_prompts(batch, work.prompt_tokens, seed=batch)) % model.config.vocab_size
        prefill_s = min(seconds(ids, 1) for _ in range(2))
        decode_s = seconds(ids, work.new_tokens) - prefill_s
        results.append(
            _figures(
                batch, work, prefill_s, first_s=prefill_s, decode_tokens_per_s=batch * (work.new_tokens - 1) / decode_s
            )
        )
    return results


def drawing(sampling: wire.Sampling) -> dict[str, Any]:
    """What makes transformers' `generate` draw as `sampling` says."""
    if not sampling.do_sample:
        return {"do_sample": False}
    names = ("temperature", "top_k", "top_p", "repetition_penalty")
    return {"do_sample": True, **{name: getattr(sampling, name) for name in names}}


def time_openai(url: str, work: Work) -> list[dict[str, float]]:
    """An OpenAI-compatible server at `url`, through streamed /v1/completions with token ids as prompts.

    Raises:
        OSError: the server cannot be reached.
        RuntimeError: it answers with an error.
    """
    server = OpenAiServer(url)
    server.run(1, work, seed=0)  # warm
    results = []
    for batch in work.batches:
        runs = [server.run(batch, work, seed=batch + 100 * repeat) for repeat in range(1, work.repeats + 1)]
        best = {name: max(run[name] for run in runs) for name in runs[0]}
        best["time_to_first_token_s"] = min(run["time_to_first_token_s"] for run in runs)
        results.append(best)
    return results


class OpenAiServer:
    """A server, asked from one thread a request."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._path = parts.path.rstrip("/").removesuffix("/v1")
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        connection.request("GET", f"{self._path}/v1/models")
        self._model = json.loads(connection.getresponse().read())["data"][0]["id"]

    def run(self, batch: int, work: Work, seed: int) -> dict[str, float]:
        """`batch` requests at once."""
        together = threading.Barrier(batch)
        arrivals: list[list[float]] = [[] for _ in range(batch)]
        threads = [
            threading.Thread(target=self._ask, args=(prompt, work, together, times))
            for prompt, times in zip(_prompts(batch, work.prompt_tokens, seed), arrivals, strict=True)
        ]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not all(arrivals):
            raise RuntimeError(f"{self._host}:{self._port} gave no tokens for {arrivals.count([])} of {batch} requests")
        prefilled = max(times[0] for times in arrivals)
        decoded = sum(time > prefilled for times in arrivals for time in times)
        decode_s = max(max(times[-1] for times in arrivals) - prefilled, 1e-9)
        first_s = min(times[0] for times in arrivals) - started
        return _figures(batch, work, prefilled - started, first_s=first_s, decode_tokens_per_s=decoded / decode_s)

    def _ask(self, prompt: list[int], work: Work, together: threading.Barrier, times: list[float]) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=600)
        sampling = work.sampling
        body = {
            "model": self._model,
            "prompt": prompt,
            "max_tokens": work.new_tokens,
            "temperature": sampling.temperature if sampling.do_sample else 0,
            "top_k": sampling.top_k if sampling.do_sample else -1,
            "top_p": sampling.top_p,
            "repetition_penalty": sampling.repetition_penalty,
            "repeat_penalty": sampling.repetition_penalty,  # llama.cpp's name for it
            "min_p": 0.0,  # llama.cpp's own default is 0.05
            "cache_prompt": False,
            "stream": True,
            "ignore_eos": True,
        }
        together.wait()
        connection.request(
            "POST", f"{self._path}/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        for line in connection.getresponse():
            if line.startswith(b"data: {") and json.loads(line[6:]).get("choices"):
                times.append(time.perf_counter())


def _figures(batch: int, work: Work, prefill_s: float, first_s: float, decode_tokens_per_s: float) -> dict[str, float]:
    return {
        "batch": batch,
        "prefill_tokens_per_s": batch * work.prompt_tokens / prefill_s,
        "decode_tokens_per_s": decode_tokens_per_s,
        "time_to_first_token_s": first_s,
    }
