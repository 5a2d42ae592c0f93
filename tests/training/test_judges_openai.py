"""The judge behind an endpoint, against a real server on this machine: what is sent, cached, dropped and never scored 0."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from uvrlab.config import CaptionerConfig
from uvrlab.data.questions import Asked
from uvrlab.training.judges import Claim, Evidence, judge_responses
from uvrlab.training.judges_openai import COMPLETENESS, CONSISTENCY, OpenAIJudge
from uvrlab.training.spans import Footage

QUESTION = Asked("q", "clip", "train", "Which sound comes first?", ("bell", "hum"), "A. bell", "sound")
WAVE = (0.1 * np.sin(np.arange(64000) / 20)).astype(np.float32)
FILM = Footage("clip", np.zeros((16, 32, 32, 3), np.uint8), 4.0, WAVE, 16000, 4.0)


class Server:
    """Answers chat completions by `reply(body)`: a string is a content, a number an HTTP error."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.reply: Any = lambda _: '{"score": 0.75, "reason": "fits"}'
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                found = outer.reply(body)
                if isinstance(found, int):
                    self.send_error(found)
                    return
                data = json.dumps({"choices": [{"message": {"content": found}, "finish_reason": "stop"}]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()


def judge_at(server: Server, **options: Any) -> OpenAIJudge:
    return OpenAIJudge(CaptionerConfig(model="omni", base_url=server.url, retries=0, backoff_s=0.0, frames=4, **options))


def claim(caption: str, span: tuple[float, float] = (1.0, 2.0)) -> Claim:
    return Claim(FILM, span, caption)


def test_a_span_is_sent_as_its_frames_its_sound_and_its_caption(server):
    assert judge_at(server).consistency([claim("a bell rings")]) == [0.75]
    system, user = server.bodies[0]["messages"]
    kinds = [part["type"] for part in user["content"]]
    assert system["content"] == CONSISTENCY and kinds == ["image_url"] * 4 + ["input_audio", "text"]
    assert user["content"][-1]["text"] == "The caption: a bell rings"
    assert judge_at(server, audio=False).consistency([claim("a bell rings")]) == [0.75]
    assert "input_audio" not in json.dumps(server.bodies[1])


def test_joined_spans_are_judged_with_question_and_right_answer(server):
    assert judge_at(server).completeness([Evidence(FILM, ((0.0, 1.0), (2.0, 3.0)), QUESTION)]) == [0.75]
    system, user = server.bodies[0]["messages"]
    assert system["content"] == COMPLETENESS
    assert user["content"][-1]["text"] == "The question: Which sound comes first?\nThe right answer: bell"


def test_a_verdict_is_asked_for_once_ever_and_another_clip_is_another_question(server):
    assert judge_at(server).consistency([claim("a"), claim("b")]) == [0.75, 0.75]
    assert judge_at(server).consistency([claim("b"), claim("a")]) == [0.75, 0.75]
    assert len(server.bodies) == 2
    mute = Claim(Footage("clip", FILM.frames, 4.0, None, 16000, 4.0), (1.0, 2.0), "a")
    judge_at(server).consistency([mute])
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    "bad", [500, "no JSON", '{"score": 2, "reason": ""}', '{"reason": "none"}', '{"score": true, "reason": ""}']
)
def test_what_fails_is_none_and_counted_and_asked_again_next_time(server, bad):
    server.reply = lambda body: bad if "lost" in body["messages"][1]["content"][-1]["text"] else '{"score": 1, "reason": ""}'
    judge = judge_at(server)
    assert judge.consistency([claim("lost"), claim("found")]) == [None, 1.0]
    assert judge.failures == 1
    server.reply = lambda _: '{"score": 0.5, "reason": ""}'
    assert judge_at(server).consistency([claim("lost")]) == [0.5]


def test_a_failed_verdict_drops_the_rollout(server):
    server.reply = lambda body: 500 if "lost" in body["messages"][1]["content"][-1]["text"] else '{"score": 1, "reason": ""}'
    texts = [
        f"<time>1.0-2.0</time><caption>{caption}</caption><thinking>so</thinking><answer>A. bell</answer>"
        for caption in ("lost", "seen")
    ]
    found = judge_responses(judge_at(server), texts, [FILM] * 2, [QUESTION] * 2)
    assert found.consistency == [None, 1.0] and found.completeness == [1.0, 1.0] and found.failures == 1


def test_a_judge_without_an_endpoint_says_what_to_set():
    with pytest.raises(ValueError, match=r"judge\.endpoint\.model"):
        OpenAIJudge(CaptionerConfig())
