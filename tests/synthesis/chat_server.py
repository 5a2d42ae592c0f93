"""A small server that speaks chat completions on loopback, as a process of its own, and misbehaves on request.

`python chat_server.py LOG DELAY_S` prints its port. A request whose seed ends in 7 gets a 503 first (with Retry-After), in 8 an
answer without enough words first, in 9 never a valid one; one without a key gets a 401. LOG gets a JSON line a request: when it
came and went, the digest of its body, and the status of the reply.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOCK, SEEN = threading.Lock(), set[str]()
KINDS = {
    "trace": {
        "think": "the clip shows something that moves over a plain ground and is heard at the same time all along",
        "answer": "Done.",
    },
    "questions": {"questions": [{"question": "What is seen?", "options": ["a dog", "a cat"], "answer": "a dog"}]},
    "answer": {"answer": "a dog"},
}

LENGTHS = {90: ("rich",), 60: ("frame_rich",), 40: ("abstract",), 8: ("viewpoint", "condition", "action")}


def words(body: dict[str, Any]) -> str:
    """A valid answer of the kind that the schema names, different for each seed."""
    kind = body["response_format"]["json_schema"]["name"]
    if kind in KINDS:
        return json.dumps(KINDS[kind])
    count = next((n for n, kinds in LENGTHS.items() if kind in kinds), 15)
    return json.dumps({"text": " ".join([f"w{body['seed']}", *["word"] * (count - 1)])})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        started = time.time()
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body, digest = json.loads(raw), hashlib.sha256(raw).hexdigest()
        with LOCK:
            first = digest not in SEEN
            SEEN.add(digest)
        time.sleep(DELAY_S)
        status = 200
        if self.headers["Authorization"] is None:
            status = 401
            self._send(status, {"error": "no key"}, {})
        elif first and body["seed"] % 10 == 7:
            status = 503
            self._send(status, {"error": "busy"}, {"Retry-After": "0.2"})
        else:
            repaired = any(m["role"] == "assistant" for m in body["messages"])
            short = body["seed"] % 10 == 9 or (body["seed"] % 10 == 8 and not repaired)
            content = '```json\n{"text": "too short"}\n```' if short else words(body)
            usage = {"prompt_tokens": 100, "completion_tokens": 20}
            self._send(200, {"choices": [{"message": {"content": content}, "finish_reason": "stop"}], "usage": usage}, {})
        parts = [p["type"] for p in body["messages"][1]["content"]]
        line = {
            "start": started,
            "end": time.time(),
            "body": digest,
            "seed": body["seed"],
            "parts": parts,
            "status": status,
            "auth": self.headers["Authorization"],
        }
        with LOCK, LOG.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _send(self, status: int, value: dict[str, Any], headers: dict[str, str]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {**headers, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return None


if __name__ == "__main__":
    LOG, DELAY_S = Path(sys.argv[1]), float(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
