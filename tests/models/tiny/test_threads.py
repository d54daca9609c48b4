"""Linear algebra of the tiny models keeps to one thread, and only while they work."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from agenttts.models.tiny.threads import _controller, one_thread

N_WORKERS = 8


def blas_threads() -> list[int]:
    """Numbers of threads now, of the libraries that the limit is set on: others may have been loaded since."""
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in _controller().info() if library["user_api"] == "blas"]


@pytest.fixture
def _blas() -> None:
    if not blas_threads():
        pytest.skip("numpy's linear algebra library has no number of threads to set here")


@pytest.mark.usefixtures("_blas")
def test_the_limit_holds_until_the_last_one_is_done():
    before = blas_threads()
    with one_thread():
        with one_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


@pytest.mark.usefixtures("_blas")
def test_overlapping_threads_leave_the_number_as_it_was():
    before = blas_threads()
    gate = threading.Barrier(N_WORKERS)

    def work(_: int) -> list[set[int]]:
        gate.wait(10)
        seen = []
        for _ in range(50):
            with one_thread():
                seen.append(set(blas_threads()))
        return seen

    with ThreadPoolExecutor(N_WORKERS) as workers:
        seen = [one for found in workers.map(work, range(N_WORKERS)) for one in found]
    assert len(seen) == 50 * N_WORKERS
    assert all(one == {1} for one in seen)
    assert blas_threads() == before


@pytest.mark.usefixtures("_blas")
def test_an_error_lifts_the_limit():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert blas_threads() == before


@pytest.mark.usefixtures("_blas")
def test_the_library_of_numpy_is_limited_whatever_is_loaded_later():
    code = (
        "import numpy as np\n"
        "from agenttts.models.tiny.threads import _controller, one_thread\n"
        "with one_thread(): pass\n"
        "import scipy.linalg\n"
        "with one_thread(): print(*{l['num_threads'] for l in _controller().info() if l['user_api'] == 'blas'})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["1"]
