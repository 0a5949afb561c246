"""OTLP collectors in this process, over HTTP and gRPC: what was sent to them, decoded."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as grpc_service


class Collected:
    """Spans as they came."""

    def __init__(self):
        self.requests, self.headers = [], []
        self.endpoint = ""

    @property
    def resources(self):
        return [resource for request in self.requests for resource in request.resource_spans]

    @property
    def spans(self):
        scopes = [scope for resource in self.resources for scope in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]


@contextmanager
def over_http():
    collected = Collected()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            collected.headers.append({name.lower(): value for name, value in self.headers.items()})
            collected.requests.append(service.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collected.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield collected
    server.shutdown()
    server.server_close()


@contextmanager
def over_grpc():
    collected = Collected()

    class Servicer(grpc_service.TraceServiceServicer):
        def Export(self, request, context):
            collected.headers.append(dict(context.invocation_metadata()))
            collected.requests.append(request)
            return service.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    grpc_service.add_TraceServiceServicer_to_server(Servicer(), server)
    collected.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield collected
    server.stop(None).wait()


OVER = {"http": over_http, "grpc": over_grpc}
