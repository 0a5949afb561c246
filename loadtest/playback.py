"""A fake expert: answers over HTTP, in OpenAI's form, what a table says that an expert answered."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Recorded:
    """One answer: its text, and the tokens of prompt and answer; no text: the request fails."""

    text: str | None
    in_tokens: int
    out_tokens: int


class FakeExpert:
    """An endpoint on the loopback, for as long as the `with` lasts.

    Args:
        answers: by the text of the last message.

    Attributes:
        asked: prompts in the order in which they came.
        times: when the first request came and when the last one was answered.
    """

    def __init__(self, answers: Mapping[str, Recorded]) -> None:
        self._answers = answers
        self.asked: list[str] = []
        self.times: list[float] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """With /v1."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return max(self.times) - min(self.times)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, body: Mapping[str, Any]) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        prompt = body["messages"][-1]["content"]
        self.asked.append(prompt)
        recorded = self._answers[prompt]
        if recorded.text is None:
            error = {"message": "not recorded", "type": "invalid_request_error"}
            return 400, "application/json", json.dumps({"error": error}).encode()
        usage = {
            "prompt_tokens": recorded.in_tokens,
            "completion_tokens": recorded.out_tokens,
            "total_tokens": recorded.in_tokens + recorded.out_tokens,
        }
        whole = {"id": "fake", "object": "chat.completion.chunk", "created": 0}
        whole["model"] = body["model"]
        said = {"index": 0, "delta": {"role": "assistant", "content": recorded.text}}
        chunks = [
            {**whole, "choices": [{**said, "finish_reason": "stop"}]},
            {**whole, "choices": [], "usage": usage},
        ]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return 200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: two would wait for each other's receipt
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                outer.times.append(time.perf_counter())
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, kind, answer = outer.answer(body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                outer.times.append(time.perf_counter())

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing: a test's output is its own."""

        return Handler
