"""Data sets of Hugging Face against a hub that is there, does not know, is slow, broken or gone.

The library reads its settings when it is imported, so that each hub is met by a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agenttts.task.data import DataFileError, read_table
from agenttts.task.schema import DataBlock

ROWS = [{"question": f"{i}?", "answer": f"#### {i}"} for i in range(3)]
COMMIT = "a" * 40
READ = """
import json, sys
from pathlib import Path
from agenttts.task.data import DataFileError, read_table
from agenttts.task.schema import DataBlock
for block in json.loads(sys.argv[1]):
    try:
        table = read_table(DataBlock(**block), Path.cwd())
        print(json.dumps([table.name, [row.fields for row in table.rows]]))
    except DataFileError as error:
        print(json.dumps(str(error)))
"""


class _Hub(BaseHTTPRequestHandler):
    """Knows `nobody/known` without the revision `v9`, is silent on `nobody/silent` and broken on `nobody/broken`."""

    def do_GET(self) -> None:
        if "silent" in self.path:
            time.sleep(5)
            return
        status, code = (503, "") if "broken" in self.path else (404, "RepoNotFound")
        if "known" in self.path and "unknown" not in self.path:
            code = "RevisionNotFound"
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _read(folder: Path, blocks: list[dict[str, Any]], **environment: str) -> list[Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(blocks)],
        cwd=folder,
        env={**kept, "HF_HOME": str(folder / "hf"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_the_hub_does_not_know_or_answer_is_told_in_seconds(hub: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    unknown, revision, silent, broken = _read(
        tmp_path,
        [
            {"dataset": "nobody/unknown", "split": "test"},
            {"dataset": "nobody/known", "split": "test", "revision": "v9"},
            {"dataset": "nobody/silent", "split": "test"},
            {"dataset": "nobody/broken", "split": "test", "config": "main"},
        ],
        HF_ENDPOINT=hub,
        HF_HUB_ETAG_TIMEOUT="1",
    )
    assert time.monotonic() - begun < 20  # most of it is the import of the library
    assert unknown.startswith("nobody/unknown: there is no such data set, on the hub or as a folder\n")
    assert "HF_TOKEN" in unknown
    assert revision.startswith("nobody/known: the data set has no revision 'v9'\n")
    assert silent.startswith(
        f"nobody/silent: {hub} cannot be reached (ReadTimeout), and no copy is in the cache\n"
    )
    assert broken.startswith(f"nobody/broken/main: {hub} answered 503, and no copy is in the cache\n")
    assert "--data PATH" in broken


def test_without_a_network_the_copy_of_a_pinned_revision_is_read_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    made = f"""
import datasets, shutil
from pathlib import Path
loaded = datasets.load_dataset("json", data_files={{"test": "rows.jsonl"}})
made = Path(loaded["test"].cache_files[0]["filename"]).parent
place = Path(datasets.config.HF_DATASETS_CACHE, "nobody___known", "default", "0.0.0", "{COMMIT}")
shutil.copytree(made, place)
(place / "json-test.arrow").rename(place / "known-test.arrow")
info = (place / "dataset_info.json").read_text()
(place / "dataset_info.json").write_text(info.replace('"dataset_name": "json"', '"dataset_name": "known"'))
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf")}
    subprocess.run([sys.executable, "-c", made], cwd=tmp_path, env=environment, check=True, timeout=60)
    block = {"dataset": "nobody/known", "split": "test"}
    blocks = [
        {**block, **more} for more in ({}, {"revision": COMMIT}, {"revision": "b" * 40}, {"revision": "v1"})
    ]
    gone = "http://127.0.0.1:1"
    for environment in ({"HF_ENDPOINT": gone}, {"HF_HUB_OFFLINE": "1"}):
        latest, same, other, tag = _read(tmp_path, blocks, **environment)
        assert latest == same == ["nobody/known[test]", ROWS]
        assert other.startswith(f"nobody/known: the copy in the cache is not of revision {'b' * 40}")
        why = (
            "HF_HUB_OFFLINE is set"
            if "HF_HUB_OFFLINE" in environment
            else f"{gone} cannot be reached (ConnectError)"
        )
        assert tag.startswith(f"nobody/known: {why}, and no copy can be told to be revision 'v1'\n")


def test_a_folder_in_the_shape_of_the_data_set_comes_before_the_hub(tmp_path: Path) -> None:
    folder = tmp_path / "nobody" / "known"
    for config in ("main", "hard"):
        (folder / config).mkdir(parents=True)
        for split in ("train", "test"):
            rows = ROWS if (config, split) == ("main", "test") else ROWS[:1]
            (folder / config / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    configs = "".join(
        f"- config_name: {config}\n  data_files:\n  - {{split: train, path: {config}/train.jsonl}}\n"
        f"  - {{split: test, path: {config}/test.jsonl}}\n"
        for config in ("main", "hard")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    block = DataBlock(dataset="nobody/known", config="main", split="test", revision=COMMIT)
    table = read_table(block, tmp_path)
    assert (table.name, [row.fields for row in table.rows]) == ("nobody/known/main[test]", ROWS)
    for change, expected in (
        ({"split": "tset"}, "there is no split 'tset'\nDid you mean `test`?"),
        ({"split": None}, "expected `split`\nSplits: train, test."),
        ({"config": "mian"}, "the data set cannot be loaded: ValueError: BuilderConfig 'mian' not found"),
    ):
        with pytest.raises(DataFileError) as caught:
            read_table(block.model_copy(update=change), tmp_path)
        assert expected in str(caught.value)
