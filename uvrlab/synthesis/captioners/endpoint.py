"""An OpenAI-compatible endpoint: chat completions with retries, backoff with jitter, and the server's own Retry-After."""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from uvrlab.config import CaptionerConfig
from uvrlab.runs import RunError
from uvrlab.synthesis.captioners.base import ProviderError

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
SETUP = frozenset({401, 403, 404, 405})  # the same for every item: the run stops
MAX_WAIT_S = 120.0


@dataclass
class Usage:
    """What asking cost. Tokens and seconds are of the requests sent now, not of answers found in the cache."""

    requests: int = 0
    cached: int = 0
    retries: int = 0
    repairs: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class Meter:
    """Usage by thread, so that the thread that made a clip's rows can tell what they cost."""

    def __init__(self, price_in: float, price_out: float) -> None:
        self._local, self._prices = threading.local(), (price_in, price_out)

    @property
    def usage(self) -> Usage:
        """The calling thread's."""
        if not hasattr(self._local, "usage"):
            self._local.usage = Usage()
        found: Usage = self._local.usage
        return found

    def drain(self) -> dict[str, float]:
        """What this thread used since it was last asked, with the cost in the currency of the configured prices."""
        found, self._local.usage = self.usage, Usage()
        cost = (found.prompt_tokens * self._prices[0] + found.completion_tokens * self._prices[1]) / 1e6
        return {**asdict(found), "cost": cost}


class Endpoint:
    """One server. Safe to call from many threads; at most `concurrency` requests of this process are under way at once."""

    def __init__(self, own: CaptionerConfig) -> None:
        key = os.environ.get(own.api_key_env, "")
        self.own, self.meter = own, Meter(own.price_in, own.price_out)
        self._slots = threading.BoundedSemaphore(own.concurrency)
        self._client = httpx.Client(
            base_url=str(own.base_url).rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(own.timeout_s, connect=min(10.0, own.timeout_s)),
            limits=httpx.Limits(max_connections=own.concurrency),
        )

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The reply to one chat completion: {"content", "finish_reason", "prompt_tokens", "completion_tokens"}.

        Raises ProviderError where this item cannot be had, RunError where no item could.
        """
        usage, reason = self.meter.usage, ""
        for attempt in range(self.own.retries + 1):
            usage.requests += 1
            usage.retries += attempt > 0
            started = time.monotonic()
            try:
                with self._slots:
                    response = self._client.post("chat/completions", json=body)
            except httpx.ConnectError as error:
                if attempt == self.own.retries:
                    remedy = "start it or correct synthesize.captioner.base_url, then run again: answers are kept"
                    raise RunError(f"cannot reach {self.own.base_url}: {error}; {remedy}") from error
                reason, wait_s = str(error), None
            except httpx.HTTPError as error:
                reason, wait_s = f"{type(error).__name__}: {error}", None
            else:
                usage.seconds += time.monotonic() - started
                if response.status_code == 200:
                    return self._reply(response)
                reason, wait_s = f"HTTP {response.status_code}: {response.text[:200]}", retry_after_s(response)
                if response.status_code in SETUP:
                    raise RunError(f"{self.own.base_url} answers {reason}; correct synthesize.captioner or ${self.own.api_key_env}")
                if response.status_code not in RETRIED:
                    break
            if attempt < self.own.retries:
                time.sleep(backoff_s(attempt, self.own.backoff_s) if wait_s is None else wait_s)
        usage.failed += 1
        raise ProviderError(f"no answer after {attempt + 1} requests: {reason}")

    def _reply(self, response: httpx.Response) -> dict[str, Any]:
        try:
            found = response.json()
            choice, tokens = found["choices"][0], found.get("usage") or {}
            reply: dict[str, Any] = {
                "content": str(choice["message"]["content"] or ""),
                "finish_reason": str(choice.get("finish_reason") or "stop"),
                "prompt_tokens": int(tokens.get("prompt_tokens") or 0),
                "completion_tokens": int(tokens.get("completion_tokens") or 0),
            }
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ProviderError(f"found no chat completion in the reply: {error!r}") from error
        self.meter.usage.prompt_tokens += reply["prompt_tokens"]
        self.meter.usage.completion_tokens += reply["completion_tokens"]
        return reply


def backoff_s(attempt: int, base_s: float) -> float:
    """Twice as long each time, less up to half at random, so that clients do not come back together."""
    return float(min(base_s * 2**attempt, MAX_WAIT_S) * random.uniform(0.5, 1.0))


def retry_after_s(response: httpx.Response) -> float | None:
    """What the server asks for, in seconds or as a date; None where it asks for nothing that can be read."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), MAX_WAIT_S)
