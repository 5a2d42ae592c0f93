"""What small frames say of a clip: brightness, sharpness, change, motion, shot boundaries. One number each; arrays in, floats out.

Frames are grey uint8 (T, H, W) of about 128 lines at about 4 a second: the numbers hold for that size and rate.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

SAME = 0.25  # grey levels; a neighbour that differs by less is the same picture, encoded twice
FASTEST = 0.05  # of the picture; one small object that moves is motion
BUSY = 75  # percentile over neighbours: a quarter of the clip may carry all the motion, one cut may not


def luma(frames: np.ndarray) -> np.ndarray:
    """(T, H, W, 3) RGB as grey uint8 (T, H, W)."""
    import cv2

    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


def brightness(grey: np.ndarray) -> float:
    """Mean grey level (0 to 255) of the median frame."""
    return float(np.median(grey.mean(axis=(1, 2))))


def sharpness(grey: np.ndarray) -> float:
    """Variance of the Laplacian of the median frame; near 0 for a blurred or empty picture."""
    import cv2

    return float(np.median([cv2.Laplacian(frame, cv2.CV_64F).var() for frame in grey]))


def changes(grey: np.ndarray) -> np.ndarray:
    """(T - 1,) mean absolute difference of neighbours in grey levels."""
    return np.array([np.abs(b.astype(np.int16) - a).mean() for a, b in pairwise(grey)])


def frozen(change: np.ndarray) -> float:
    """Share of neighbours that are the same picture."""
    return float((change < SAME).mean())


def difference(change: np.ndarray) -> float:
    """Typical change of the livelier part of a clip, in grey levels."""
    return float(np.percentile(change, BUSY))


def flow(grey: np.ndarray, gap_s: float) -> float:
    """Speed of the fastest twentieth of the picture in picture heights a second, by dense inverse search (DIS) optical flow."""
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    speeds = []
    for a, b in pairwise(grey):
        length = np.linalg.norm(search.calc(a, b, np.zeros((*a.shape, 2), np.float32)), axis=-1).ravel()
        n = max(1, round(FASTEST * length.size))
        speeds.append(np.partition(length, -n)[-n:].mean())
    return float(np.percentile(speeds, BUSY)) / grey.shape[1] / gap_s


def cuts(frames: np.ndarray, fps: float) -> list[int]:
    """Indices of RGB frames that begin a new shot, by PySceneDetect's content detector."""
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector

    detector, found = ContentDetector(min_scene_len=max(1, round(fps))), []
    for i, frame in enumerate(frames):
        found += detector.process_frame(FrameTimecode(i, fps), np.ascontiguousarray(frame[..., ::-1]))
    return [int(cut.frame_num) for cut in found if 0 < cut.frame_num < len(frames)]
