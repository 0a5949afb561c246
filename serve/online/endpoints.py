"""The paths of the ingress's methods.

chat, completions   POST /v1/chat/completions, /v1/completions
responses           POST /v1/responses
messages            POST /v1/messages: Anthropic's; count_tokens: /v1/messages/count_tokens
embeddings          POST /v1/embeddings
tokenize            POST /tokenize; detokenize: /detokenize
route               POST /v1/route: the decision alone
feedback            POST /v1/feedback: what an answer was worth
usage               GET /v1/usage: what keys took
router              GET /v1/router: which artifact each replica serves
live                GET /v1/live: shares, spend and savings of now
models, model_data  GET /v1/models, /v1/models/{model}
health, ready       GET /health, /ready
metrics             GET /metrics
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

ENDPOINTS: dict[str, Callable[[FastAPI], Any]] = {
    "chat": lambda app: app.post("/v1/chat/completions"),
    "completions": lambda app: app.post("/v1/completions"),
    "responses": lambda app: app.post("/v1/responses"),
    "messages": lambda app: app.post("/v1/messages"),
    "count_tokens": lambda app: app.post("/v1/messages/count_tokens"),
    "embeddings": lambda app: app.post("/v1/embeddings"),
    "tokenize": lambda app: app.post("/tokenize"),
    "detokenize": lambda app: app.post("/detokenize"),
    "route": lambda app: app.post("/v1/route"),
    "feedback": lambda app: app.post("/v1/feedback"),
    "usage": lambda app: app.get("/v1/usage"),
    "router": lambda app: app.get("/v1/router"),
    "live": lambda app: app.get("/v1/live"),
    "models": lambda app: app.get("/v1/models"),
    "model_data": lambda app: app.get("/v1/models/{model:path}"),
    "health": lambda app: app.get("/health"),
    "ready": lambda app: app.get("/ready"),
    "metrics": lambda app: app.get("/metrics"),
}
