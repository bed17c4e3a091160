"""Fits a neck to a network: features first, then answers, at a price for every kilobyte.

The price of each rate level follows what whole frames take: it rises while they take more than
they should, and falls while they take less. Crops, which lie around objects, take more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from codesign_ros.models.neck import Neck, NeckForm
from codesign_ros.models.network import Network
from codesign_ros.training.averaged_run import AveragedRun, RunConfig
from codesign_ros.training.detector.canvases import Augmentation, CanvasSampler
from codesign_ros.training.neck.calibrate import gains_between
from codesign_ros.training.neck.frames import Pictures
from codesign_ros.training.neck.likeness import of_maps
from codesign_ros.training.neck.rate import RatedNeck, latents_of_maps
from codesign_ros.training.neck.teacher import Teacher, distances
from codesign_ros.training.schedule import rate_share
from codesign_ros.training.tensors import to_input

_START_FRAMES = 32
# Weights of the errors of maps beside that of the answer, at the first step, and of the map alone
# before there is one. The former falls to nothing, with the square of the steps that are left: maps
# show the way, but bytes that make them alike where no answer comes of it are wasted.
_MAP_WEIGHT, _MAP_ALONE = 0.3, 2.0
# How fast a price follows, and between which it stays [per kilobyte].
_PRICE_RATE = 0.06
_PRICES = (1e-5, 30.0)
_CELL_PX = 32
# Of the neck's learning rate, for a tail that is trained already.
_TAIL_RATE = 0.1
# One step of so many sees whole frames.
_WHOLE_EVERY = 4
# The learning rate rises anew over so many steps, at most that share of all, once answers are
# compared: their gradients are larger than those of maps, by which steps were scaled so far.
_ANSWERS_WARM_UP, _WARM_UP_SHARE = 200, 0.05


@dataclass(frozen=True)
class NeckConfig(RunConfig):
    """How a neck is trained.

    Attributes:
        bytes: what a frame is to take at each level.
        form: sizes of encoder and decoder.
        feature_share: share of the steps, at the beginning, that compare maps alone.
        answers_rate: of the learning rate, once answers are compared.
        crop: height and width of crops as shares of the input's.
        whole_share: share of the steps, at the end, that see whole frames, as every fourth does.
        bfloat16: convolve in 16 bits.
        augmentation: how pictures are changed.
    """

    weight_decay: float = 0.0
    bytes: tuple[int, ...] = ()
    form: NeckForm = field(default_factory=NeckForm)
    feature_share: float = 0.12
    answers_rate: float = 1.0
    crop: tuple[float, float] = (0.64, 0.5)
    whole_share: float = 0.2
    bfloat16: bool = False
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            mosaic=0.0,
            around_object=0.6,
            keep_size=0.7,
            scale=(0.6, 1.5),
            gain=(0.7, 1.4),
            gamma=(0.8, 1.25),
            saturation=(0.6, 1.4),
            hue_degrees=6.0,
            degradation=None,
        )
    )


class NeckTrainer(AveragedRun[NeckConfig]):
    """One training run.

    Args:
        teacher: the network.
        pictures: what is learned from.
        config: how.
        device: where torch computes.
        start: a neck of the same form and its gains (levels, C), to go on from; where the levels
            are more or fewer, theirs are found by their bytes. None = the start is in closed form.
        tail: what is behind the neck, to be trained with it; None = that stays the network's.

    Attributes:
        told: what the start in closed form says of itself, see `RatedNeck.start`.
    """

    _gradient_norm = 2.0

    def __init__(
        self,
        teacher: Teacher,
        pictures: Pictures,
        config: NeckConfig,
        device: str = "cpu",
        start: tuple[Neck, np.ndarray] | None = None,
        tail: Network | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self._teacher = teacher
        neck = Neck(teacher.source_shapes, teacher.target_shapes, config.form)
        rated = RatedNeck(neck, len(config.bytes), tail)
        self._spec = teacher.network.input_spec
        sources, targets = _first_maps(teacher, pictures, device)
        teacher.balance([target.to(device) for target in targets])
        self.told = rated.start(sources, targets)
        if start is not None:
            its, gains = start
            if len(gains) != len(config.bytes):
                latents = latents_of_maps(its, sources).numpy()
                gains = gains_between(latents, gains, config.bytes)
            rated.go_on_from(its, gains, sources)
        super().__init__(rated.to(memory_format=torch.channels_last), config, device)
        self._sampler = CanvasSampler(pictures, self._spec, config.seed, config.augmentation)
        height, width = (
            max(_CELL_PX, round(share * side / _CELL_PX) * _CELL_PX)
            for share, side in zip(config.crop, (self._spec.height, self._spec.width), strict=True)
        )
        fits = height <= self._spec.height and width <= self._spec.width
        self._crop = (height, width) if fits and teacher.takes(height, width, neck) else None
        self._targets = torch.tensor(config.bytes, dtype=torch.float32) / 1e3
        # The first step that compared answers; None = there was none yet.
        self._answers_since: int | None = None

    def rated(self) -> RatedNeck:
        """Return the neck with the averaged weights; not a copy."""
        rated = self._average.module
        assert isinstance(rated, RatedNeck)
        return rated.eval()

    def step(self) -> dict[str, float]:
        """Do one step; see ``AveragedRun.step``."""
        compares = self.steps_done >= self.config.feature_share * self.config.steps
        if compares and self._answers_since is None:
            self._answers_since = self.steps_done
            self._optimiser.state.clear()
        return super().step()

    def _rate_share(self) -> float:
        share = super()._rate_share()
        if self._answers_since is None:
            return share
        share *= self.config.answers_rate
        if self._answers_since == 0:
            return share
        warm_up = max(1.0, min(_ANSWERS_WARM_UP, _WARM_UP_SHARE * self.config.steps))
        return share * min(1.0, (self.steps_done - self._answers_since + 1) / warm_up)

    def _loss(self) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss, and the parts that people look at."""
        config, teacher, rated = self.config, self._teacher, self._network
        x = self._pictures()
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.steps_done)
        # Where a batch has fewer pictures than there are levels, all still have their turn.
        order = torch.randperm(rated.levels, generator=generator)
        level = order[torch.arange(len(x)) % rated.levels]
        answers = self._answers_since is not None
        with torch.autocast(self._device.type, torch.bfloat16, enabled=config.bfloat16):
            with torch.no_grad():
                sources, targets = teacher.ends(x)
                taught = teacher.behind(targets) if answers else {}
            latent = config.form.latent([target.shape[1:] for target in targets])
            noise = torch.rand(len(x), *latent, generator=generator) - 0.5
            decoded, bits, rounded = rated(sources, level.to(x.device), noise.to(x.device))
            found = teacher.behind(decoded, rated.tail) if answers else {}
        errors = [of_maps(a.float(), b.float()) for a, b in zip(decoded, targets, strict=True)]
        map_error = torch.stack(errors).mean()
        frame_share = x.shape[2] * x.shape[3] / (self._spec.height * self._spec.width)
        kilobytes, real = (each.cpu() / 8e3 / frame_share for each in (bits, rounded))
        if answers:
            answer, watched = distances(teacher, found, taught)
            left = 1 - self.steps_done / config.steps
            error = answer + _MAP_WEIGHT * left**2 * (map_error + watched)
        else:
            answer, error = map_error.new_zeros(()), _MAP_ALONE * map_error
        price = rated.log_price.exp().cpu()[level]
        loss = error + (price * kilobytes).mean()
        if self._sees_whole_frames():
            self._follow(real, level)
        return loss, {
            "map_error": map_error.item(),
            "answer_error": answer.item(),
            "kilobytes": real.mean().item(),
        }

    @torch.no_grad()
    def _follow(self, kilobytes: torch.Tensor, level: torch.Tensor) -> None:
        """Raise or lower the prices of the levels that this step saw."""
        rate = _PRICE_RATE * rate_share(self.steps_done, self.config.steps)
        price = self._network.log_price
        for each in level.unique().tolist():
            taken = kilobytes[level == each].mean().clamp(min=1e-3)
            price[each] += rate * float((taken / self._targets[each]).log().clamp(-1, 1))
        price.clamp_(*(math.log(bound) for bound in _PRICES))

    def _sees_whole_frames(self) -> bool:
        at_the_end = self.steps_done >= (1 - self.config.whole_share) * self.config.steps
        return self._crop is None or at_the_end or self.steps_done % _WHOLE_EVERY == 0

    def _pictures(self) -> torch.Tensor:
        """Draw the next pictures, normalised (B, 3, h, w)."""
        config, spec = self.config, self._spec
        if self._sees_whole_frames():
            images = self._sampler.frames(config.batch_frames).images
        else:
            assert self._crop is not None
            height, width = self._crop
            area = height * width / (spec.height * spec.width)
            images = self._sampler.canvases(
                max(1, round(config.batch_frames / area)), height, width
            ).images
        x = to_input(np.ascontiguousarray(images), spec)
        return x.to(self._device, memory_format=torch.channels_last)

    def _groups(self, network: nn.Module) -> list[dict[str, Any]]:
        tail = {id(p) for n, p in network.named_parameters() if n.startswith("tail.")}
        groups = super()._groups(network)
        return [
            {**group, "params": [p for p in group["params"] if (id(p) in tail) == behind],
             "rate_share": share}
            for behind, share in ((False, 1.0), (True, _TAIL_RATE))
            for group in groups
        ]  # fmt: skip

    def _place(self) -> dict[str, Any]:
        return {**self._sampler.state(), "answers_since": self._answers_since}

    def _go_to(self, place: dict[str, Any]) -> None:
        self._answers_since = place.pop("answers_since")
        self._sampler.restore(place)


def _first_maps(
    teacher: Teacher, pictures: Pictures, device: str
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return what the encoder takes and the decoders are to make, of whole frames from all over."""
    count = min(_START_FRAMES, len(pictures))
    frames = []
    with torch.no_grad():
        for i in range(count):
            image = pictures.image(i * len(pictures) // count)[None]
            ends = teacher.ends(to_input(image, teacher.network.input_spec).to(device))
            frames.append([[each.float().cpu() for each in side] for side in ends])
    sources, targets = ([torch.cat(maps) for maps in zip(*side, strict=True)]
                        for side in zip(*frames, strict=True))  # fmt: skip
    return sources, targets
