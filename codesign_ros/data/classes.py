"""Which classes of labelled data count and what they are called: renamed, chosen, left out.

``ClassChoice`` is what a user asks for; ``resolve`` holds it against the classes that some data
have and against those that a network knows, before the first frame is looked at.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from codesign_ros.data.annotations import DetectionSet
from codesign_ros.types.boxes import Box
from codesign_ros.types.errors import CodesignError, listed

_NO_OBJECT = frozenset(("no", "non", "not", "without"))
# What stands in a hint where nobody knows the class that is meant.
_ANY = "CLASS"
_SIMILAR = 0.8


@dataclass(frozen=True)
class FoundClasses:
    """Names of classes that labels have.

    Attributes:
        names: all that the data name, also those of which there is no object.
        occurring: those of which there is one.
    """

    names: tuple[str, ...]
    occurring: frozenset[str]

    @classmethod
    def of_labels(cls, labels: Iterable[str], names: Sequence[str] = ()) -> FoundClasses:
        """Take the labels of all objects, and further names."""
        occurring = frozenset(labels)
        return cls((*names, *sorted(occurring - set(names))), occurring)

    @classmethod
    def of_sets(cls, *sets: DetectionSet) -> FoundClasses:
        """Take the classes of parts of one data set."""
        labels = (box.label for each in sets for image in each.images for box in image.boxes)
        return cls.of_labels(labels, sets[0].classes)


@dataclass(frozen=True)
class ClassNames:
    """What the classes of some data are called; ``ClassChoice.resolve`` makes one.

    Attributes:
        classes: those that count, in their order.
        targets: what each class of the data is called; None = its objects are left out.
        warnings: what was left out, and names that look the same, a line each.
    """

    classes: tuple[str, ...]
    targets: Mapping[str, str | None]
    warnings: tuple[str, ...] = ()

    def boxes(self, boxes: Iterable[Box]) -> tuple[Box, ...]:
        """Rename boxes; leave out those that do not count, and all but one of the same."""
        named = ((box, self.targets[box.label]) for box in boxes)
        return tuple(dict.fromkeys(replace(box, label=name) for box, name in named if name))

    def set(self, found: DetectionSet) -> DetectionSet:
        """Rename the boxes of a data set.

        Raises:
            CodesignError: none is left.
        """
        images = tuple(replace(image, boxes=self.boxes(image.boxes)) for image in found.images)
        if not any(image.boxes for image in images):
            raise CodesignError(
                f"data set {found.name} has no box of {listed(self.classes)}: nothing is left; "
                "choose others of its classes with --classes or --map"
            )
        return replace(found, classes=self.classes, images=images)


@dataclass(frozen=True)
class ClassChoice:
    """What the command line says of classes.

    Attributes:
        renames: pairs of a class of the data and what it is to be called.
        kept: the classes that count, by their new names; None = all.
        ignore_unknown: leave out what is of another class, without a word against it.
    """

    renames: tuple[tuple[str, str], ...] = ()
    kept: tuple[str, ...] | None = None
    ignore_unknown: bool = False

    @classmethod
    def given(
        cls, map: Sequence[str] | None, classes: Sequence[str] | None, ignore_unknown: bool
    ) -> ClassChoice:
        """Read options.

        Args:
            map: texts such as ``Safety Helmet=helmet,No Safety Helmet=head``.
            classes: texts such as ``helmet,head``.
            ignore_unknown: as the attribute.

        Raises:
            CodesignError: a text is not written so, or names a class twice.
        """
        renames = []
        for entry in _entries(map or ()):
            source, _, target = (part.strip() for part in entry.rpartition("="))
            if not (source and target):
                raise CodesignError(
                    f"--map takes FOUND=CLASS, with commas between several, not '{entry}'"
                )
            renames.append((source, target))
        if map and not renames:
            raise CodesignError("--map names no class; give them as in --map FOUND=CLASS")
        kept = None if classes is None else tuple(_entries(classes))
        _refuse_twice("--map", [source for source, _ in renames])
        if kept == ():
            raise CodesignError("--classes names no class; give them as in --classes helmet,head")
        _refuse_twice("--classes", kept or ())
        return cls(tuple(renames), kept, ignore_unknown)

    @property
    def words(self) -> str:
        """The choice as options; empty where there is none."""
        parts = [f"--map {_quoted(f'{a}={b}' for a, b in self.renames)}"] if self.renames else []
        parts += [f"--classes {_quoted(self.kept)}"] if self.kept is not None else []
        return " ".join((*parts, *(["--ignore-unknown"] if self.ignore_unknown else ())))

    def resolve(self, found: FoundClasses, known: Sequence[str] | None, data: str) -> ClassNames:
        """Say of each class of the data what becomes of it.

        Args:
            found: the classes of the data.
            known: the classes of the network; None = it learns whatever counts.
            data: what the data are called.

        Raises:
            CodesignError: the choice names what neither has, some objects are of a class that the
                network does not know, or none is left.
        """
        if self.renames and self.kept == found.names:
            # They say what the numbers of label files without names mean, and choose nothing.
            return replace(self, kept=None).resolve(found, known, data)
        # Some files have a blank before a name, which nobody wants to type.
        renames = dict(self.renames)
        targets = {name: renames.get(name.strip(), name) for name in found.names}
        for source in renames:
            if source not in map(str.strip, found.names):
                raise CodesignError(
                    f"--map: {data} has no class '{source}'; it has {listed(found.names)}"
                    f"{_meant(source, found.names)}"
                )
        allowed = self._allowed(targets, known, data)
        left_out = [name for name in found.names if targets[name] not in allowed]
        strangers = [name for name in left_out if name in found.occurring]
        if strangers and self.kept is None and not self.ignore_unknown:
            raise CodesignError(
                f"{data} has objects of {_these(strangers)}, which the network does not know (it "
                f"knows {listed(allowed)}): rename them, as in {_renaming(strangers, allowed)}, or "
                "leave them out with --ignore-unknown"
            )
        if found.occurring and found.occurring.issubset(left_out):
            raise CodesignError(
                f"nothing is left of {data}: it has objects of {_these(sorted(found.occurring))}, "
                f"and none counts as {listed(allowed)}; rename them, as in "
                f"{_renaming(strangers, allowed)}"
            )
        notes = [f"{data}: objects of {_these(strangers)} are left out"] if strangers else []
        return ClassNames(
            allowed,
            {name: None if name in left_out else target for name, target in targets.items()},
            (*notes, *_look_alike(targets, allowed)),
        )

    def _allowed(
        self, targets: Mapping[str, str], known: Sequence[str] | None, data: str
    ) -> tuple[str, ...]:
        """Return the classes that count, in their order.

        Raises:
            CodesignError: there is no such class.
        """
        every = tuple(dict.fromkeys(targets.values())) if known is None else tuple(known)
        owner = data if known is None else "the network"
        new_names = tuple(dict.fromkeys(target for _, target in self.renames))
        wanted = [("--classes", name, every, owner) for name in self.kept or ()]
        wanted += [("--map", name, every, owner) for name in new_names]
        for option, name, names, who in wanted:
            if name not in names:
                raise CodesignError(
                    f"{option}: {who} has no class '{name}'; it has {listed(names)}"
                    f"{_meant(name, names)}"
                )
        if self.kept is not None:
            return self.kept
        if known is None and self.ignore_unknown:
            if not new_names:
                raise CodesignError(
                    "--ignore-unknown: a training learns all classes of its data unless --map or "
                    f"--classes says which; {data} has {listed(tuple(targets))}"
                )
            return new_names
        return every


def namesakes(classes: Sequence[str], known: Sequence[str]) -> list[str]:
    """Hint at classes that a network knows by another spelling, a line each.

    Args:
        classes: what a training is about to learn.
        known: the classes of the network that it starts from.
    """
    pairs = [(name, _nearest(name, known)) for name in classes if name not in known]
    return [
        f"class '{name}' starts anew; --map {_quoted([f'{name.strip()}={other}'])} lets it start "
        f"from what is known of '{other}'"
        for name, other in pairs
        if other is not None and other not in classes
    ]


def _entries(texts: Sequence[str]) -> list[str]:
    """Split at commas, but those inside quotation marks."""
    rows = csv.reader(texts, skipinitialspace=True)
    return [entry.strip() for row in rows for entry in row if entry.strip()]


def _refuse_twice(option: str, names: Sequence[str]) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise CodesignError(f"{option} names '{twice}' twice; name each class once")


def _quoted(entries: Iterable[str]) -> str:
    """Write a list as it is typed into a shell; `_entries` reads it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(entries)
    return shlex.quote(text.getvalue())


def _these(names: Sequence[str]) -> str:
    return listed([f"'{name}'" for name in names])


def _words(name: str) -> list[str]:
    """Split a name into words without case: blanks, hyphens, underscores and capitals part them."""
    return re.findall(r"[^\W_]+", name.casefold())


def _nearest(name: str, classes: Collection[str]) -> str | None:
    """Find the class that a name means: the same but for spelling, or its last word."""
    by_words = {" ".join(_words(each)): each for each in classes}
    words = _words(name)
    close = difflib.get_close_matches(" ".join(words), by_words, n=1, cutoff=_SIMILAR)
    if close:
        return by_words[close[0]]
    # A safety helmet is a helmet; who has no helmet is none.
    return by_words.get(words[-1]) if words and not _NO_OBJECT.intersection(words) else None


def _renaming(names: Iterable[str], classes: Collection[str]) -> str:
    """Write the option that gives each name a class."""
    return "--map " + _quoted(f"{n.strip()}={_nearest(n, classes) or _ANY}" for n in names)


def _meant(name: str, classes: Collection[str]) -> str:
    """Ask for the class that was meant, to end a message with."""
    nearest = _nearest(name, classes)
    return f"; did you mean '{nearest}'?" if nearest else ""


def _look_alike(targets: Mapping[str, str], allowed: Sequence[str]) -> list[str]:
    """Warn of classes of the data that differ in spelling alone."""
    first: dict[str, str] = {}
    lines = []
    for name, target in targets.items():
        if target in allowed:
            other = first.setdefault(" ".join(_words(target)), target)
            if other != target:
                lines.append(
                    f"classes '{other}' and '{target}' look alike and count as two; --map "
                    f"{_quoted([f'{name.strip()}={other}'])} makes them one"
                )
    return lines
