"""What the worker processes of the test of fair queues import."""

from __future__ import annotations

import os

from .fair import make_queue
from .limited import STREAM, URL

queue, _task = make_queue(os.environ[URL], os.environ[STREAM])
