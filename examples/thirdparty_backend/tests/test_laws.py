from pathlib import Path

import pytest
from harness import FilesHarness

from pyxqueue.testing import BackendContract


class TestFiles(BackendContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> FilesHarness:
        return FilesHarness(tmp_path)
