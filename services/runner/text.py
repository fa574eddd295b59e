"""Reads calls for engines that generate text."""

from __future__ import annotations

from services.common.catalog import Model
from services.runner.job import Job, Step
from services.runner.kinds.base import Work
from services.runner.reply import ReplyWriter
from services.runner.request import RequestReader
from tiermesh.runner.v1.runner_pb2 import GenerateCall


class TextReader:
    """Brings together how a call is read and how its replies are written."""

    def __init__(self, requests: RequestReader) -> None:
        self._requests = requests

    def read(self, call: GenerateCall, model: Model) -> Work[Job, Step]:
        """Returns the work; raises MeshError INVALID_REQUEST."""
        request = self._requests.read(call, model)
        return Work(request.job, ReplyWriter(call.id, request).write)
