"""The short form of `make fuzz`: four mutants of each kind."""

from __future__ import annotations

from tests.tools import fuzz


def test_every_mutant_decodes_or_is_a_reject_and_nothing_outside_is_touched():
    result = fuzz.run(60, workers=1, seed=7)
    assert sum(result["outcomes"].values()) == 60
    assert result["outcomes"].get("decoded", 0) > 5
    assert not result["canary_file_read"]
    assert not result["canary_port_called"]
    assert result["opened_outside"] == 0
    for kind in ("playlist", "text", "empty"):
        assert "decoded" not in result["by_kind"][kind]
