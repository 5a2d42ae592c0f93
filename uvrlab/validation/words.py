"""Texts as arrays of word hashes: what captions share, and how a set of texts is worded, without a Python loop over texts.

A word is a run of letters or digits, lower case. Hashes are 64 bits and equal in every process.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit of a word is lost


def normalised(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Lower case, words alone, one blank between them; a null text is empty."""
    plain = pc.replace_substring_regex(pc.utf8_lower(pc.fill_null(texts, "")), r"[^\p{L}\p{N}]+", " ")
    return pc.utf8_trim_whitespace(plain)


def word_hashes(texts: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Word hashes of all texts on end (W,) uint64, and for each the row of its text (W,) int64."""
    lists = pc.split_pattern(normalised(texts), " ")
    words, rows = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    codes = (words.combine_chunks() if isinstance(words, pa.ChunkedArray) else words).dictionary_encode()
    known = pd.util.hash_array(codes.dictionary.to_numpy(zero_copy_only=False).astype(object), categorize=False)
    filled = pc.not_equal(words, "").to_numpy(zero_copy_only=False)
    return known[codes.indices.to_numpy()][filled], rows[filled].astype(np.int64)


def shingles(words: np.ndarray, rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Every run of `size` words within a text: (hashes, rows), in reading order."""
    n = len(words) - size + 1
    if n <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    whole = np.flatnonzero(rows[:n] == rows[size - 1 :])
    hashes = np.zeros(len(whole), np.uint64)
    for i in range(size):
        hashes = hashes * FACTOR + words[whole + i]
    return hashes, rows[whole]


def bags(texts: pa.Array | pa.ChunkedArray, width: int = 256) -> np.ndarray:
    """(N, width) float32 unit rows: words and word pairs hashed into `width` places, square roots of their counts."""
    words, rows = word_hashes(texts)
    pairs, pair_rows = shingles(words, rows, 2)
    at = np.concatenate([rows, pair_rows]) * width + (np.concatenate([words, pairs]) % np.uint64(width)).astype(np.int64)
    counts = np.sqrt(np.bincount(at, minlength=len(texts) * width).astype(np.float32)).reshape(len(texts), width)
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)
