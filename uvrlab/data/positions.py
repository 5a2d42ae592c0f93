"""Position ids by the model's own `get_rope_index`, called by keyword for one sample at a time and remembered by media shape.

Text positions count on from the media block, so only the block needs the model's rule, and a batch of equal clips asks it once.
Asserted here, because none of them raises upstream: that the block is not numbered as plain text, that its time axis has the clip's
real seconds a grid, and that a clip without sound is never numbered under another clip's sound flag.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from uvrlab.data.items import MediaShape
from uvrlab.data.prompts import TextEncoder
from uvrlab.data.spec import Backbone

_REMEMBERED = 512


class PositionRule:
    """Position ids (3, length) of one sample."""

    def __init__(self, spec: Backbone, config: Any, text: TextEncoder) -> None:
        self.spec, self.config, self.text = spec, config, text
        self._blocks: OrderedDict[MediaShape, Any] = OrderedDict()
        self._probe: Any = None

    def __call__(self, length: int, shape: MediaShape, media: list[int], n_before: int) -> Any:
        """Positions of a sample of `length` tokens whose media block `media` starts behind `n_before` text tokens."""
        import torch

        dtype = torch.float32 if self.spec.interleave == "merge" else torch.long
        if not media:
            return torch.arange(length, dtype=dtype).expand(3, -1)
        block = self._block(shape, media)  # (3, len(media)), counted from 0
        after = torch.arange(length - n_before - len(media), dtype=dtype).expand(3, -1) + block[0, -1] + 1 + n_before
        return torch.cat([torch.arange(n_before, dtype=dtype).expand(3, -1), block + n_before, after], dim=1)

    def _block(self, shape: MediaShape, media: list[int]) -> Any:
        if shape in self._blocks:
            self._blocks.move_to_end(shape)
            return self._blocks[shape]
        block = self._ask(shape, media)
        self._check(shape, media, block)
        self._blocks[shape] = block
        if len(self._blocks) > _REMEMBERED:
            self._blocks.popitem(last=False)
        return block

    def _model(self) -> Any:
        """The model class without weights: its rule reads nothing but the configuration."""
        if self._probe is None:
            import transformers

            name = self.spec.model_class
            cls = getattr(transformers, name if self.spec.hears else name.replace("ForConditionalGeneration", "Model"))
            self._probe = cls.__new__(cls)
            self._probe.__dict__.update(config=self.config, spatial_merge_size=self.config.vision_config.spatial_merge_size)
        return self._probe

    def _ask(self, shape: MediaShape, media: list[int]) -> Any:
        import torch

        ids = torch.tensor([[self.text.id(self.spec.tokens.turn_start), *media]])
        call: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        call["image_grid_thw"] = torch.tensor([shape.image]) if shape.image else None
        call["video_grid_thw"] = torch.tensor([shape.video]) if shape.video else None
        seconds = torch.tensor([shape.seconds_per_grid]) if shape.video else None
        if self.spec.hears:
            call["use_audio_in_video"] = bool(shape.video and shape.mel)
            call["audio_seqlens"] = torch.tensor([shape.mel]) if shape.mel else None
            call["second_per_grids"] = seconds
        else:
            types = {self.text.id(self.spec.tokens.image): 1, self.text.id(self.spec.tokens.video): 2}
            call["mm_token_type_ids"] = torch.tensor([[types.get(int(i), 0) for i in ids[0]]])
            if self.spec.positions_per_s is not None:
                call["second_per_grid_ts"] = seconds
        positions, _ = self._model().get_rope_index(**call)
        return positions[:, 0, 1:] - 1

    def _check(self, shape: MediaShape, media: list[int], block: Any) -> None:
        import torch

        if block.shape != (3, len(media)):
            raise AssertionError(f"get_rope_index gave {tuple(block.shape)} positions for {len(media)} media tokens")
        if not shape.video:
            return
        ids = torch.tensor(media)
        picture = block[:, ids == self.text.id(self.spec.tokens.video)]
        t, h, w = shape.video[0], shape.video[1] // self.spec.merge, shape.video[2] // self.spec.merge
        step = (shape.seconds_per_grid or 0) * self.spec.positions_per_s if self.spec.positions_per_s else 1.0
        expected = (torch.arange(t) * step).to(block.dtype).repeat_interleave(h * w)
        # a rule that multiplies by seconds rounds in float32: 3 x 1.4 s x 25 falls to 104 or to 105
        if not torch.allclose(
            (picture[0] - picture[0, 0]).float(), expected.float(), atol=1.01 if self.spec.positions_per_s else 1e-3
        ):
            raise AssertionError(f"the time axis of a video of {shape} is {picture[0].unique().tolist()}; expected steps of {step}")
        if shape.mel:
            sound = block[0, ids == self.text.id(str(self.spec.tokens.audio))]
            if sound.numel() != shape.audio or not torch.equal(sound - sound[0], torch.arange(shape.audio).to(block.dtype)):
                raise AssertionError(f"the sound of a video of {shape} is not numbered one position a token")
            if sound[0] != picture[0, 0]:
                raise AssertionError(
                    f"sound and picture of a video of {shape} start at {sound[0]} and {picture[0, 0]}; expected equal"
                )
