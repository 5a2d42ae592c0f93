"""The provider `openai` against a server process on loopback: together, again, repaired, refused, resumed, and never twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from uvrlab.config import CaptionerConfig, ConfigError, SynthesizeConfig, parse_config
from uvrlab.data.probe import probe
from uvrlab.data.schema import STYLES, WORD_RANGES, item
from uvrlab.data.world import render_clip, sample_scene
from uvrlab.runs import RunError
from uvrlab.synthesis.captioners import captioner
from uvrlab.synthesis.captioners.answers import SCHEMAS, text_problems
from uvrlab.synthesis.captioners.base import STRATEGIES, ProviderError
from uvrlab.synthesis.captioners.endpoint import backoff_s, retry_after_s
from uvrlab.synthesis.captioners.openai import Ask, OpenAI
from uvrlab.synthesis.captioners.prompts import FOLDER, prompt
from uvrlab.synthesis.captioners.world import World
from uvrlab.synthesis.extend import extend
from uvrlab.synthesis.plan import Cell
from uvrlab.synthesis.view import ClipView

Row = dict[str, Any]
HERE = Path(__file__).resolve().parent
DELAY_S = 0.15


class Server:
    """The server process, and what it logged."""

    def __init__(self, log: Path, delay_s: float) -> None:
        self.log = log
        command = [sys.executable, str(HERE / "chat_server.py"), str(log), str(delay_s)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def requests(self) -> list[Row]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.is_file() else []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "log.jsonl", DELAY_S)
    yield made
    made.process.kill()
    made.process.wait()


@pytest.fixture
def made(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenAI:
    monkeypatch.setenv("UVR_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("SOME_KEY", "secret")
    return OpenAI(_own(server.url))


def _own(url: str, **changed: Any) -> CaptionerConfig:
    fixed = {
        "base_url": url,
        "model": "tiny",
        "api_key_env": "SOME_KEY",
        "backoff_s": 0.01,
        "retries": 2,
        "frames": 2,
        "frame_height": 32,
    }
    return CaptionerConfig(**{**fixed, **changed})


@pytest.fixture(scope="session")
def view(tmp_path_factory: pytest.TempPathFactory) -> ClipView:
    """A rendered clip with sound, without its scene graph."""
    base = tmp_path_factory.mktemp("media")
    scene = next(s for i in range(40) if (s := sample_scene("train", i)).track == "sound" and s.sounds)
    (base / "a.mp4").write_bytes(render_clip(scene))
    found = probe(str(base / "a.mp4"))
    named = {"clip_id": "a", "parent_id": "a", "media_sha256": "sha-of-a", "uri": "a.mp4", "caption": None, "tags": []}
    row = {**named, **found.columns(0.0, found.duration_s)}
    assert row["audible"]
    return ClipView(row, base)


class Seeded:
    """A generator whose first draw of a seed ends in a chosen digit, so that the server behaves as told."""

    def __init__(self, number: int, digit: int) -> None:
        self.seed = 10 * number + digit

    def integers(self, high: int) -> int:
        return self.seed

    def choice(self, n: int, p: Any = None) -> int:
        return 0


def _concise(made: OpenAI, view: ClipView, number: int, digit: int = 0) -> str:
    return made.caption(view, "concise", Seeded(number, digit))  # type: ignore[arg-type]


def test_every_method_asks_and_gets_what_its_schema_says(made: OpenAI, server: Server, view: ClipView) -> None:
    rng = Seeded(1, 0)
    texts = {style: made.caption(view, style, rng) for style in STYLES}  # type: ignore[arg-type]
    texts["frame"] = made.frame_caption(view, 1.03, rng)  # type: ignore[arg-type]
    texts["frame_rich"] = made.frame_caption(view, 1.03, rng, rich=True)  # type: ignore[arg-type]
    frame = item(clip_id="a", start_s=1.03, end_s=1.03, modalities=["image"])
    span = item(clip_id="a", start_s=0.0, end_s=2.0, modalities=["video"])
    for strategy in (*made.strategies(view, frame, view), *made.strategies(view, span, view)):
        part = frame if strategy in STRATEGIES["TI2V"] else span
        texts[strategy] = made.change(view, part, view, strategy, rng)  # type: ignore[arg-type]
    assert set(texts) == set(WORD_RANGES) - {"continuation"}  # the clip does not follow its own part
    assert not any(text_problems(kind, text) for kind, text in texts.items())
    thought = made.query_trace(view, Cell("T2V", "concise"), item(text="a red star", modalities=["text"]), rng, 0.0)  # type: ignore[arg-type]
    assert thought and thought[1] == "Done." and made.target_trace(view, rng, 0.0)  # type: ignore[arg-type]
    seen = server.requests()
    assert {r["auth"] for r in seen} == {"Bearer secret"} and "secret" not in str(made.own.digest_view())
    assert seen[0]["parts"].count("image_url") == 2 and "input_audio" in seen[0]["parts"]
    assert seen[5]["parts"] == ["text", "image_url"] and seen[-2]["parts"] == ["text"]  # a frame; a text query


def test_requests_are_under_way_together_and_equal_ones_are_sent_once(made: OpenAI, server: Server, view: ClipView) -> None:
    """24 calls for 8 different captions by 8 threads: 8 requests, several at a time."""
    with ThreadPoolExecutor(made.concurrency) as pool:
        found = list(pool.map(lambda n: _concise(made, view, n % 8), range(24)))
    assert found[:8] == found[8:16] == found[16:] and len(set(found)) == 8
    seen = server.requests()
    assert len(seen) == 8
    assert max(sum(r["start"] <= s["start"] < r["end"] for r in seen) for s in seen) >= 4
    assert [f for f in Path(os.environ["UVR_WORK"]).rglob("*") if f.suffix in (".lock", ".tmp")] == []


def test_a_cached_item_is_never_sent_again_nor_decoded(made: OpenAI, server: Server, view: ClipView) -> None:
    text = _concise(made, view, 1)
    made.usage()
    gone = ClipView(view.row, Path("nowhere"))
    assert _concise(OpenAI(_own("http://127.0.0.1:9/v1")), gone, 1) == text  # no server, no media
    assert _concise(made, view, 1) == text and len(server.requests()) == 1
    used = made.usage()
    assert (used["requests"], used["cached"], used["cost"]) == (0, 1, 0.0)


def test_a_busy_server_is_asked_again_after_the_time_it_names(made: OpenAI, server: Server, view: ClipView) -> None:
    started = time.monotonic()
    assert _concise(made, view, 2, digit=7)
    used = made.usage()
    assert (used["requests"], used["retries"], used["failed"]) == (2, 1, 0)
    assert time.monotonic() - started >= 0.2 + 2 * DELAY_S
    assert used["prompt_tokens"] == 100 and used["completion_tokens"] == 20


def test_an_invalid_answer_is_repaired_once_and_then_rejected_with_its_reason(made: OpenAI, server: Server, view: ClipView) -> None:
    assert len(_concise(made, view, 3, digit=8).split()) == 15
    assert made.usage()["repairs"] == 1 and len(server.requests()) == 2
    for _ in range(2):  # from the server, then from the cache
        with pytest.raises(ProviderError, match="concise is invalid after one repair: text: found 2 words, expected 10 to 25"):
            _concise(made, view, 4, digit=9)
    assert len(server.requests()) == 4


def test_a_slow_answer_is_a_reject_after_its_retries(server: Server, made: OpenAI, view: ClipView) -> None:
    hasty = OpenAI(_own(server.url, timeout_s=0.05, retries=1))
    with pytest.raises(ProviderError, match=r"no answer after 2 requests: \w*Timeout"):
        _concise(hasty, view, 5)
    assert hasty.usage()["failed"] == 1
    assert _concise(made, view, 5)  # a failure is not kept


def test_no_server_or_no_right_stops_the_run_with_the_remedy(
    made: OpenAI, server: Server, view: ClipView, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match=r"start it or correct synthesize\.captioner\.base_url"):
        _concise(OpenAI(_own("http://127.0.0.1:9/v1", retries=0)), view, 6)
    monkeypatch.delenv("SOME_KEY")
    with pytest.raises(RunError, match=r"401: .*no key.*; correct synthesize\.captioner or \$SOME_KEY"):
        _concise(OpenAI(_own(server.url)), view, 6)


def test_media_that_does_not_decode_is_a_reject(made: OpenAI, server: Server, view: ClipView) -> None:
    with pytest.raises(ProviderError, match="not shown"):
        _concise(made, ClipView(view.row, Path("nowhere")), 7)
    assert server.requests() == []


def test_questions_that_anything_answers_are_dropped_and_silent_ones_need_the_picture(
    made: OpenAI, server: Server, view: ClipView
) -> None:
    """The server's answer is right whatever it is shown: such a question has no label with sound, and needs the picture without."""
    assert made.questions(view, np.random.default_rng(10)) == []
    silent = ClipView({**view.row, "audible": False}, view.base)
    rows = made.questions(silent, np.random.default_rng(10))
    assert [(r["needs"], r["answer"][3:]) for r in rows] == [("picture", "a dog")]


CLIENT = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uvrlab.config import CaptionerConfig
from uvrlab.synthesis.captioners.openai import OpenAI
from uvrlab.synthesis.view import ClipView
row, base, own, count = json.loads(sys.argv[1])
class Seeded:
    def __init__(self, seed): self.seed = seed
    def integers(self, high): return self.seed
    def choice(self, n, p=None): return 0
made, view = OpenAI(CaptionerConfig(**own)), ClipView(row, Path(base))
with ThreadPoolExecutor(made.concurrency) as pool:
    for text in pool.map(lambda n: made.caption(view, "concise", Seeded(10 * n)), range(count)):
        print(text, flush=True)
"""


def test_a_killed_client_goes_on_where_it_stopped(made: OpenAI, server: Server, view: ClipView) -> None:
    """kill -9 after six answers of twenty-four: what was answered is not sent again, what was under way may be."""
    own = _own(server.url, concurrency=4).model_dump()
    command = [sys.executable, "-c", CLIENT, json.dumps([view.row, str(view.base), own, 24])]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    for _ in range(6):
        first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = len(list((Path(os.environ["UVR_WORK"]) / "captions").rglob("*.json")))
    assert 6 <= kept <= 24
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(set(second.stdout.split("\n")) - {""}) == 24
    sent = Counter(r["body"] for r in server.requests())
    assert len(sent) == 24 and sent.total() <= 28 and sum(n > 1 for n in sent.values()) <= 4
    assert sent.total() - 24 <= 24 - kept


def test_the_key_changes_with_all_that_decides_a_reply_and_with_nothing_else(view: ClipView) -> None:
    made = OpenAI(_own("http://127.0.0.1:9/v1"))
    asked = prompt("caption")

    def key(
        own: OpenAI = made, seed: int = 1, text: str = "t", kind: str = "concise", row: Row | None = None, sound: bool = True
    ) -> str:
        shown = own._clip("The clip:", ClipView({**view.row, **(row or {})}, view.base), sound=sound)
        return own.key(Ask(kind, asked, text, (shown,), seed))

    others = [
        key(seed=2),
        key(text="u"),
        key(kind="rich"),
        key(sound=False),
        key(row={"media_sha256": "sha-of-b"}),
        key(row={"start_s": 1.0}),
        key(OpenAI(_own("http://x/v1", model="other"))),
        key(OpenAI(_own("http://x/v1", temperature=0.1))),
        key(OpenAI(_own("http://x/v1", frames=3))),
    ]
    assert len({key(), *others}) == 10
    assert key() == key(OpenAI(_own("http://elsewhere/v1", concurrency=3, timeout_s=1.0))) == key(row={"uri": "moved.mp4"})


def test_every_prompt_has_a_version_and_the_values_it_asks_for() -> None:
    names = {file.stem for file in FOLDER.glob("*.md")}
    assert names == {"answer", "caption", "change", "frame", "questions", "repair", "trace"}
    assert set(prompt("caption").parts["styles"]) == set(STYLES)
    assert set(prompt("change").parts["strategies"]) == {s for names in STRATEGIES.values() for s in names}
    assert all(prompt(name).tag in OpenAI(_own("http://x/v1")).version for name in names)
    with pytest.raises(KeyError):
        prompt("frame").fill(low=1)
    assert all(schema["additionalProperties"] is False for schema in SCHEMAS.values())


def test_the_config_asks_for_a_model_and_an_endpoint() -> None:
    with pytest.raises(ConfigError, match=r"synthesize\.captioner\.model"):
        parse_config({"synthesize": {"provider": "openai"}})
    own = SynthesizeConfig(provider="openai", captioner=CaptionerConfig(model="m", base_url="http://127.0.0.1:8000/v1"))
    assert captioner(own).name == "openai" and captioner(own).concurrency == 8
    assert not {"base_url", "api_key_env", "concurrency"} & set(own.digest_view()["captioner"])


def test_waits_grow_and_honour_the_server() -> None:
    assert all(0.5 * 2**n * 0.5 <= backoff_s(n, 0.5) <= 0.5 * 2**n for n in range(6))
    assert backoff_s(30, 0.5) <= 120.0
    for text, expected in (("3", 3.0), ("-1", 0.0), ("9999", 120.0), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)):
        assert retry_after_s(httpx.Response(503, headers={"Retry-After": text})) == expected
    assert retry_after_s(httpx.Response(503)) is None


class Forgetful(World):
    """Has no question and no thought to give."""

    def questions(self, view: ClipView, rng: np.random.Generator) -> list[Row]:
        raise ProviderError("no valid question")

    def target_trace(self, view: ClipView, rng: np.random.Generator, error_rate: float) -> None:
        raise ProviderError("no valid thought")


def test_a_failed_question_or_thought_costs_itself_and_not_the_pair(world_clip: Callable[..., Row]) -> None:
    clip = ClipView(world_clip("train", 0), Path())
    made = extend(clip, [], {Cell("T2V", "concise"): 1}, Forgetful(), SynthesizeConfig(), 0)
    assert len(made.pairs) == 1 and [t["side"] for t in made.traces] == ["query"]
    assert [r["reason"] for r in made.rejects] == ["no questions", "no trace"]
