# SPDX-License-Identifier: Apache-2.0
"""Models by name: pulled on first use from a hub on loopback, and Ctrl-C meanwhile."""
import os
import signal
import sys
import threading
from unittest import mock

import pytest

from conftest import GOLDEN
from openautoglm import AutoModel, Error

sys.path.insert(0, str(GOLDEN.parents[1] / "e2e" / "cli"))
from support import TIMEOUT, CliTest, FakeHub, sha256  # noqa: E402

CONTENT = (GOLDEN / "gguf" / "llama32-F16.gguf").read_bytes()


class Pulled(CliTest):
    def setUp(self):
        super().setUp()
        self.hub = FakeHub(self)
        self.hub.files["org/small/small.gguf"] = CONTENT
        file = {"path": "small.gguf", "bytes": len(CONTENT), "sha256": sha256(CONTENT)}
        self.catalogue("small", "small.gguf", [{"kind": "hub", "repository": "org/small", "files": [file]}])
        environment = mock.patch.dict(os.environ, {"OPENAUTOGLM_HOME": str(self.home), "HF_ENDPOINT": self.hub.url})
        environment.start()
        self.addCleanup(environment.stop)

    def test_a_name_is_pulled_once(self):
        for _ in range(2):
            with AutoModel.from_pretrained("small") as model:
                self.assertEqual(model.name, "small")
                self.assertEqual(len(model.generate([1, 2, 3], max_new_tokens=2, ignore_eos=True).token_ids), 2)
        self.assertEqual(self.hub.ranges(), [None])

    def test_what_cannot_be_pulled_says_why(self):
        self.hub.statuses["/org/small"] = 404
        with pytest.raises(Error, match="small"):
            AutoModel.from_pretrained("small")

    def test_ctrl_c_leaves_a_beginning_and_gives_python_its_signals_back(self):
        self.hub.stall_at = 1_000

        def interrupt():
            self.hub.stalled.wait(TIMEOUT)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            AutoModel.from_pretrained("small")
        self.hub.go_on.set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with AutoModel.from_pretrained("small") as model:
            self.assertGreater(model.num_parameters, 0)
