"""A plan as an OpenAI-compatible model: `agenttts serve`, and the same as an ASGI application.

service = build_service(Plan.load("plan.yaml"))
app = build_app(service)                 # for any ASGI server
"""

from agenttts.serve.app import ServeOptions, build_app, build_service, serve_on
from agenttts.serve.service import Limits, Service

__all__ = ["Limits", "ServeOptions", "Service", "build_app", "build_service", "serve_on"]
