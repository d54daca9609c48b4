"""Linear algebra of the tiny models keeps to one thread, and only while they work."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from agenttts.models.tiny.threads import one_thread


def blas_threads() -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


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
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait()
        for _ in range(50):
            with one_thread():
                assert set(blas_threads()) == {1}

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert blas_threads() == before


@pytest.mark.usefixtures("_blas")
def test_an_error_lifts_the_limit():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert blas_threads() == before
