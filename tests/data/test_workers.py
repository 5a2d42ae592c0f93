"""Workers: every fault costs its own item; results keep input order; messages survive the trip."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.config import LimitsConfig
from uvrlab.data.media import MediaError
from uvrlab.data.workers import AHEAD, MediaPool, Reject, map_media, pack, unpack

LIMITS = LimitsConfig(timeout_s=1.5, max_memory_bytes=2**30)


def behave(item: dict[str, Any]) -> Any:
    """Runs in the worker."""
    match item["do"]:
        case "square":
            time.sleep(item.get("sleep", 0.0))
            return {"square": item["x"] ** 2, "ones": np.ones((2, item["x"] + 1), np.float32)}
        case "raise":
            raise RuntimeError("no")
        case "media":
            raise MediaError("codec", "found x")
        case "hang":
            time.sleep(60)
        case "spin":
            while True:
                pass
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "bomb":
            return len(bytearray(8 * 2**30))
        case "write":
            with open(item["path"], "wb") as file:  # noqa: PTH123
                file.write(b"x")
    return None


def test_each_fault_costs_exactly_its_item_and_order_is_kept():
    kinds = ["raise", "media", "hang", "die", "segv", "bomb", "spin"]
    items = [{"do": "square", "x": i, "sleep": 0.02 * (i % 3)} for i in range(12)]
    for place, kind in enumerate(kinds):
        items.insert(2 * place + 1, {"do": kind})
    with MediaPool(2, LIMITS) as pool:
        results = list(pool.map(behave, items, name=lambda i: i["do"]))
    assert len(results) == len(items)
    for item, result in zip(items, results, strict=True):
        if item["do"] == "square":
            assert result["square"] == item["x"] ** 2
            assert result["ones"].shape == (2, item["x"] + 1)
        else:
            assert isinstance(result, Reject)
            assert result.item == item["do"]
    reasons = {i["do"]: r.reason for i, r in zip(items, results, strict=True) if isinstance(r, Reject)}
    assert reasons == {
        "raise": "error",
        "media": "codec",
        "hang": "timeout",
        "die": "crash",
        "segv": "crash",
        "bomb": "memory",
        "spin": "timeout",
    }
    assert pool.restarts == 4


def test_a_worker_cannot_write_files(tmp_path):
    (result,) = map_media(behave, [{"do": "write", "path": str(tmp_path / "x")}], workers=1, limits=LIMITS, name=str)
    assert isinstance(result, Reject)
    assert not (tmp_path / "x").exists() or (tmp_path / "x").stat().st_size == 0


def test_items_are_taken_lazily_so_memory_is_bounded():
    taken = 0

    def source():
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield {"do": "square", "x": i % 5}

    results = map_media(behave, source(), workers=1, limits=LIMITS)
    next(results)
    assert taken <= 8
    results.close()


def test_while_one_worker_spins_the_other_does_not_run_away():
    """Two workers hold AHEAD items each: the first item spins until its time is out, the next seven wait for it."""
    taken = 0

    def source():
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield {"do": "square", "x": 1} if i else {"do": "spin"}

    results = map_media(behave, source(), workers=2, limits=LIMITS, name=str)
    assert next(results).reason == "timeout"
    assert taken == 2 * AHEAD
    results.close()


def test_no_items_give_no_results():
    assert list(map_media(behave, [], workers=1)) == []


def test_a_local_function_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match="module-level"):
        list(map_media(lambda x: x, [1], workers=1))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_messages_round_trip(value):
    assert unpack(pack(value)) == value


@given(st.lists(st.integers(0, 4), max_size=3), st.sampled_from(["u1", "<f4", "<i8", "?"]))
def test_arrays_round_trip(shape, dtype):
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    back = unpack(pack({"a": [array]}))["a"][0]
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
