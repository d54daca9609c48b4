"""Data sets of Hugging Face, through `datasets`: from a folder in the shape of one, from the hub, or from its cache.

The library waits out a dead network with retries (25 s with version 5), and then takes the latest copy in its cache
whatever revision was asked for. So the hub is asked once, briefly, before it is left to load; and of a copy in the
cache the revision is checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttts.errors import DataError, Mistake
from agenttts.task.reading import nearest

if TYPE_CHECKING:
    from agenttts.task.schema import DataBlock

__all__ = ["HubError", "load_split", "shown_name"]

COMMIT = re.compile(r"[0-9a-f]{40}")
PIN = "With the whole hash of a commit as `revision`, a copy in the cache can be told to be that one."
OTHERWISE = "Go online once, or give the data as files: --data PATH (in Python: data=)."


class HubError(DataError):
    """A data set cannot be loaded; `mistake` says why."""

    def __init__(self, name: str, message: str, hint: str) -> None:
        self.mistake = Mistake(name, None, "", message, hint)
        super().__init__(str(self.mistake))


def shown_name(block: DataBlock) -> str:
    """Return a data set as messages show it."""
    return f"{block.dataset}/{block.config}" if block.config else str(block.dataset)


def load_split(block: DataBlock, folder: Path) -> tuple[str, Any]:
    """Return the name of the split that a block means, and its rows as `datasets` gives them.

    Args:
        block: Names a data set.
        folder: A folder of the data set's name that lies here comes before the hub.

    Raises:
        HubError: There is no such data set, revision, configuration or split, or it cannot be reached.
    """
    loaded = _loaded(block, folder)
    splits = list(loaded)
    split = block.split or (splits[0] if len(splits) == 1 else "")
    if split not in splits:
        message = f"there is no split {split!r}" if split else "expected `split`"
        raise HubError(shown_name(block), message, nearest(split, splits, listed="Splits"))
    return split, loaded[split]


def _loaded(block: DataBlock, folder: Path) -> Any:
    import datasets

    local = folder / str(block.dataset)
    if local.is_dir():
        return _load(str(local), block)
    if datasets.config.HF_HUB_OFFLINE:
        return _from_cache(block, "HF_HUB_OFFLINE is set")
    unreachable = _asked(block)
    if unreachable:
        return _from_cache(block, unreachable)
    return _of_revision(_load(str(block.dataset), block), block)


def _asked(block: DataBlock) -> str:
    """Ask the hub for a data set; return why it cannot be reached, empty where it can.

    Raises:
        HubError: It knows no such data set or revision.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        HfApi().dataset_info(
            str(block.dataset), revision=block.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT, expand=["sha"]
        )
    except RevisionNotFoundError as error:
        raise HubError(
            shown_name(block),
            f"the data set has no revision {block.revision!r}",
            "Leave `revision` out, or mend it.",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        hint = "Check the name; a gated or private one needs HF_TOKEN in the environment."
        raise HubError(
            shown_name(block), "there is no such data set, on the hub or as a folder", hint
        ) from error
    except HfHubHTTPError as error:
        return f"{constants.ENDPOINT} answered {error.response.status_code}"
    except Exception as error:  # of the HTTP client, which is another one from version to version
        return f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
    return ""


def _from_cache(block: DataBlock, why: str) -> Any:
    """Return the copy in the cache.

    Raises:
        HubError: There is none, or it is not known to be of the revision.
    """
    name = shown_name(block)
    if block.revision is not None and not COMMIT.fullmatch(block.revision):
        raise HubError(
            name, f"{why}, and no copy can be told to be revision {block.revision!r}", f"{PIN} {OTHERWISE}"
        )
    try:
        with _offline():
            loaded = _load(str(block.dataset), block)
    except HubError as error:
        raise HubError(name, f"{why}, and no copy is in the cache", OTHERWISE) from error
    return _of_revision(loaded, block)


@contextmanager
def _offline() -> Iterator[None]:
    """Keep `datasets` from asking the hub; its switch is read at every load."""
    import datasets

    was, datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = was


def _of_revision(loaded: Any, block: DataBlock) -> Any:
    """Return a data set that is of the commit that was asked for: the library may give the latest in its cache."""
    if block.revision is None or not COMMIT.fullmatch(block.revision):
        return loaded
    files = [Path(file["filename"]) for part in loaded.values() for file in part.cache_files]
    if all(file.parent.name == block.revision for file in files):  # .../<config>/<version>/<commit>/<file>
        return loaded
    raise HubError(
        shown_name(block),
        f"the copy in the cache is not of revision {block.revision}, which cannot be reached",
        OTHERWISE,
    )


def _load(source: str, block: DataBlock) -> Any:
    import datasets

    try:
        return datasets.load_dataset(source, block.config, revision=block.revision)
    except Exception as error:  # the library raises what its many back ends raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        hint = "Check the name, `config` and `revision`, the network, and `HF_TOKEN` for a gated data set."
        raise HubError(shown_name(block), f"the data set cannot be loaded: {reason}", hint) from error
