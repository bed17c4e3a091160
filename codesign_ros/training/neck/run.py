"""One training of a neck, from pictures to a bundle that has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import RenderableType
from rich.progress import Progress
from rich.table import Table

from codesign_ros.bundle import Bundle, write_neck
from codesign_ros.models.neck import Neck, NeckForm, form_of, least_patch
from codesign_ros.models.network import Network
from codesign_ros.models.own_tail import tail_of, tail_weights
from codesign_ros.neck_file import NeckInfo
from codesign_ros.training.base_run import BaseRun
from codesign_ros.training.neck.calibrate import meet_bytes
from codesign_ros.training.neck.curves import draw_neck, write_neck_curves
from codesign_ros.training.neck.film import film_frames, with_film
from codesign_ros.training.neck.frames import Pictures, open_pictures
from codesign_ros.training.neck.measure import (
    NeckJudge,
    RatePoint,
    count_tables,
    latents_of,
    to_json,
)
from codesign_ros.training.neck.options import BYTES_A_PIXEL, NeckOptions
from codesign_ros.training.neck.rate import LARGEST_CODE
from codesign_ros.training.neck.teacher import Teacher
from codesign_ros.training.neck.trainer import NeckConfig, NeckTrainer
from codesign_ros.training.options import plain
from codesign_ros.types.errors import CodesignError

# Pictures that gains are fitted to, that tables are counted on, and that are measured on while it
# trains.
_FITTED_FRAMES, _COUNTED_FRAMES, _MEASURED_FRAMES = 100, 400, 24
# Of the steps, those that compare maps alone: quicker, and more where the map is not there yet.
_FEATURE_SHARE, _FEATURES_AHEAD = 0.12, 0.5
# A patch of 2 x 2 places has at most so many numbers; principal components of more take minutes.
_MOST_PATCH = 2048
# What a place of the smallest map stands for where larger ones cross, which cannot be less.
_MOST_NUMBERS = 8192
_CHANNELS_A_MAP = 32
# Peak of the learning rate; a number of a latent of several maps hangs on many more weights.
_RATE, _RATE_OF_SEVERAL = 2e-3, 5e-4
# Of that, once answers are compared, where less than such a share of the network's work lies before
# the decoded map: what is behind it makes much of small errors there.
_EARLY, _RATE_OF_EARLY = 0.25, 0.1
_LEAST_SIDE = 8


class NeckRun(BaseRun):
    """The training of a neck."""

    task = "neck"
    options: NeckOptions
    _trainer: NeckTrainer

    def __init__(self, out: Path, options: NeckOptions, bundle: Bundle, progress: Progress) -> None:
        super().__init__(out, options, progress)
        self._bundle = bundle
        self.teacher = Teacher(bundle, options.neck, options.target, options.torch_device)
        self._form = self._sizes()
        with torch.device("meta"):  # says so before pictures are read, if there can be none
            Neck(self.teacher.source_shapes, self.teacher.target_shapes, self._form)

    def open(self, train: Pictures, val: Pictures) -> NeckRun:
        """Take the pictures."""
        self._train, self._val = train, val
        # Those at the end, and the answers without a neck.
        self.judge_passes = 1.25 * len(val) / min(len(val), _MEASURED_FRAMES)
        self._judge = self._judge_on(val.first(_MEASURED_FRAMES))
        self._form = replace(self._form, positive=self._judge.is_positive)
        return self

    def make_trainer(self, steps: int) -> NeckTrainer:
        """Make what does the steps."""
        options, spec = self.options, self._bundle.input
        sizes = options.bytes or tuple(
            max(1, round(each * spec.height * spec.width)) for each in BYTES_A_PIXEL
        )
        start = self._start()
        feature_share = options.feature_share
        if feature_share is None:
            is_ahead = options.target > options.neck
            feature_share = _FEATURES_AHEAD if is_ahead else _FEATURE_SHARE
            if start is not None:  # its answers are near already, and would go away again
                feature_share = 0.0
        several = len(self.teacher.target_shapes) > 1
        rate = options.learning_rate or (_RATE_OF_SEVERAL if several else _RATE)
        is_early = self.teacher.work_before < _EARLY
        answers_rate = _RATE_OF_EARLY if is_early and options.learning_rate is None else 1.0
        config = NeckConfig(
            steps,
            **{**options.config, "learning_rate": rate},
            bytes=sizes,
            feature_share=feature_share,
            answers_rate=answers_rate,
            form=self._form,
            bfloat16=options.bfloat16,
        )
        tail = self._tail() if self._has_own_tail else None
        return NeckTrainer(self.teacher, self._train, config, options.torch_device, start, tail)

    def measure(self) -> dict[str, Any]:
        """Measure bytes and answers at each level."""
        points = self._judge(self._trainer.rated())
        self.progress.console.print(_line(points, self._judge.metric))
        return {"levels": to_json(points)}

    def write(self) -> Iterable[RenderableType]:
        """Fit gains, count tables, measure, write bundle and curves, remove the checkpoint."""
        rated = self._trainer.rated()
        few, many = (
            latents_of(rated, self.teacher, self._train, count)
            for count in (_FITTED_FRAMES, _COUNTED_FRAMES)
        )
        meet_bytes(rated, list(few), self._trainer.config.bytes)
        tables = count_tables(rated, many)
        frames = film_frames(self.options, self._bundle.input)
        tables = with_film(tables, rated, self.teacher, frames)
        self._judge = self._judge_on(self._val)
        points = self._judge(rated, tables)
        neck = rated.neck
        channels, rows, columns = neck.latent
        info = NeckInfo(
            self.options.neck, self.options.target, (channels, rows, columns), rated.levels,
            LARGEST_CODE, asdict(neck.form), "",
        )  # fmt: skip
        tail = None if rated.tail is None else tail_weights(rated.tail)
        bundle = write_neck(self.out, self._bundle, info, neck, tables, tail)
        loop = self._loop
        document = {
            "command": plain(self.options),
            "config": asdict(self._trainer.config),
            "start": dict(zip(("variance_held", "variance_told"), self._trainer.told, strict=True)),
            "trained_on": self._train.name,
            "measured_on": self._val.name,
            "of_the_truth": self._judge.truths_known,
            "training_minutes": round(loop.seconds / 60, 2),
            "without": self._judge.without,
            "levels": to_json(points),
            "measured": loop.measured,
            "curve": loop.curve,
        }
        write_neck_curves(self.out, info, document)
        draw_neck(self.out, info, document, self._judge.metric)
        loop.remove_checkpoint()
        return (self._table(points), f"{self.out}: model {bundle.model_id}")

    def _start(self) -> tuple[Neck, np.ndarray] | None:
        """The neck that the bundle has already, if ours can go on from it."""
        there = self._there()
        if there is None:
            return None
        form = form_of(there.form)
        deeper = replace(
            form,
            encoder_depth=max(form.encoder_depth, self._form.encoder_depth),
            decoder_depth=max(form.decoder_depth, self._form.decoder_depth),
        )
        if deeper != self._form:
            return None
        self.progress.console.print(f"goes on from the neck of {self._bundle.path}")
        return self._bundle.neck_module(there.cut), self._bundle.neck_tables(there.cut).gains

    @property
    def _has_own_tail(self) -> bool:
        there = self._there()
        return self.options.own_tail or (there is not None and there.own_tail)

    def _tail(self) -> Network:
        """What is behind the neck, with the weights of the one that the bundle has already."""
        there = self._there()
        network = self._bundle.network(None if there is None else there.cut)
        return tail_of(network, self.options.target)

    def _there(self) -> NeckInfo | None:
        """The neck that the bundle has already between the same cuts."""
        cuts = (self.options.neck, self.options.target)
        return next((each for each in self._bundle.necks if (each.cut, each.enter) == cuts), None)

    def _judge_on(self, pictures: Pictures) -> NeckJudge:
        return NeckJudge(self._bundle, self.teacher, pictures, self.options.torch_device)

    def _table(self, points: list[RatePoint]) -> Table:
        of = "the truth" if self._judge.truths_known else "the network's own answers"
        table = Table(
            "level", "bytes a frame", *self._judge.without,
            title=f"Neck at cut {self.options.neck}, against {of} on {self._val.name}",
        )  # fmt: skip
        table.add_row("without", "", *(f"{v:.1%}" for v in self._judge.without.values()))
        for level, point in enumerate(points):
            values = (f"{value:.1%}" for value in point.values.values())
            table.add_row(str(level), f"{point.bytes_a_frame:,.0f}", *values)
        return table

    def _sizes(self) -> NeckForm:
        options = self.options
        targets = self.teacher.target_shapes
        patch = least_patch(self.teacher.source_shapes, targets)
        patches = NeckForm(patch=patch).patches(targets)
        numbers = sum(shape[0] * each**2 for shape, each in zip(targets, patches, strict=True))
        if numbers > _MOST_NUMBERS:
            raise CodesignError(
                f"a neck's latent has the grid of the smallest map: at cut {options.target} a "
                f"place of it stands for {numbers} numbers of all maps, and {_MOST_NUMBERS} are "
                "the most; take another cut, or another --enter"
            )
        is_fine = max(patches) == 1 and min(targets[0][1:]) >= _LEAST_SIDE
        if is_fine and 4 * numbers <= _MOST_PATCH:
            patch, numbers = 2, 4 * numbers
        # A head that stops early leaves more to encoder and decoder.
        is_ahead = options.target > options.neck
        usual = NeckForm(encoder_depth=2, decoder_depth=3) if is_ahead else NeckForm()
        if (there := self._there()) is not None:
            usual = form_of(there.form)
        given = {"encoder_depth": options.encoder_depth, "decoder_depth": options.decoder_depth}
        depths: dict[str, Any] = {n: depth for n, depth in given.items() if depth is not None}
        return replace(
            usual,
            channels=min(options.channels or _CHANNELS_A_MAP * len(targets), numbers),
            patch=patch,
            encoder_width=options.encoder_width,
            decoder_width=options.decoder_width,
            **depths,
        )


def _line(points: list[RatePoint], metric: str) -> str:
    return "measured: " + ", ".join(
        f"{point.bytes_a_frame:,.0f} bytes {metric} {point.values[metric]:.4f}" for point in points
    )


@contextmanager
def open_neck_run(
    out: Path, options: NeckOptions, progress: Progress
) -> Iterator[tuple[NeckRun, int]]:
    """Open the bundle and the pictures; see ``training.base_run.train``."""
    assert options.init is not None
    bundle = Bundle.open(options.init)
    run = NeckRun(out, options, bundle, progress)
    with open_pictures(options, bundle.input, progress) as (train, val):
        yield run.open(train, val), len(train)
