"""The search space of an exploration: axes over spec fields, and constraints between fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from hwsim.core import registry
from hwsim.core.errors import Location, SpecError, SpecErrorGroup, UsageError
from hwsim.core.units import parse
from hwsim.explore.domain import Choices, Domain, Interval, Steps, is_number, step_count
from hwsim.explore.expression import Constraint, Values, parse_constraint
from hwsim.spec.arch import NOT_HARDWARE, Arch, Range
from hwsim.spec.overrides import WORKLOAD_PREFIX, split_path, value_at
from hwsim.spec.validate import unit_at, validate
from hwsim.spec.workload import WorkloadSpec
from hwsim.spec.yaml import Document, Tree
from hwsim.transforms.base import Transform
from hwsim.transforms.workload import Workload

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: One value per axis, in the order of `Space.axes`.
Design = tuple[Tree, ...]


@dataclass(frozen=True)
class Axis:
    """A field that the search varies; `unit` is its SI unit (`""` without)."""

    path: str
    domain: Domain
    unit: str = ""

    @property
    def of_workload(self) -> bool:
        return self.path.startswith(WORKLOAD_PREFIX)

    @property
    def field_path(self) -> str:
        """The path inside the arch's or the workload's spec."""
        return self.path.removeprefix(WORKLOAD_PREFIX)


@dataclass(frozen=True)
class Space:
    """Axes and constraints; `fixed` holds, per workload, the fields that constraints name and no axis varies."""

    axes: tuple[Axis, ...]
    constraints: tuple[Constraint, ...] = ()
    fixed: tuple[Mapping[str, Values], ...] = ({},)

    @property
    def enumerable(self) -> bool:
        """Whether a grid misses no design."""
        return all(axis.domain.enumerable for axis in self.axes)

    @property
    def size(self) -> int | None:
        """Designs in all, constraints aside; None if an axis is continuous."""
        if any(isinstance(axis.domain, Interval) for axis in self.axes):
            return None
        return prod(axis.domain.count for axis in self.axes if not isinstance(axis.domain, Interval))

    @property
    def grid_size(self) -> int:
        """Designs of the full grid, constraints aside."""
        return prod(axis.domain.grid_count for axis in self.axes)

    def grid_design(self, index: int) -> Design:
        """The design at `index` of the grid; the last axis varies fastest."""
        values: list[Tree] = []
        for axis in reversed(self.axes):
            index, digit = divmod(index, axis.domain.grid_count)
            values.append(axis.domain.grid(digit))
        return tuple(reversed(values))

    def at(self, positions: Sequence[float]) -> Design:
        """The design at a point of the unit cube."""
        return tuple(axis.domain.at(float(p)) for axis, p in zip(self.axes, positions, strict=True))

    def allowed(self, designs: Sequence[Design]) -> npt.NDArray[np.bool_]:
        """Which designs meet every constraint for every workload."""
        import numpy as np

        mask = np.ones(len(designs), dtype=bool)
        if not self.constraints or not designs:
            return mask
        columns = zip(*designs, strict=True)
        varied = {axis.path: Values(list(c), axis.unit) for axis, c in zip(self.axes, columns, strict=True)}
        for fixed in self.fixed:
            for constraint in self.constraints:
                mask &= constraint.holds({**fixed, **varied})
        return mask


def build_space(arch: Arch, workloads: Sequence[Workload], sweeps: Mapping[str, Tree] | None = None) -> Space:
    """The space of an arch's `search:` block, with `sweeps` replacing or adding axes.

    Every bound and choice is validated in the spec as if it stood there, and kept as the SI value that gave.
    Raises SpecError (all faults at once) at the place in the file, or at the `--sweep`.
    """
    definitions: dict[str, tuple[list[Tree] | Range, Location]] = {
        path: (definition, arch.document.place(("search", path))) for path, definition in arch.spec.search.items()
    }
    for path, given in (sweeps or {}).items():
        definitions[path] = (_sweep_definition(path, given), Location(f"--sweep {path}"))
    if not definitions:
        raise UsageError(
            f"{arch.name} has nothing to explore",
            where=arch.file,
            expected="a `search:` block in the arch file",
            remedy="give an axis such as `--sweep PATH=V1,V2`",
        )
    faults: list[SpecError] = []
    axes: list[Axis] = []
    for path, (definition, where) in definitions.items():
        try:
            axes.append(_axis(arch, workloads, path, definition, where))
        except SpecError as error:
            faults += [_moved(fault, where) for fault in getattr(error, "errors", (error,))]
    if faults:
        raise faults[0] if len(faults) == 1 else SpecErrorGroup(faults)
    constraints = [
        parse_constraint(text, arch.document.place(("constraints", index)))
        for index, text in enumerate(arch.spec.constraints)
    ]
    space = Space(tuple(axes), tuple(constraints), tuple(_fixed(arch, w, constraints, axes) for w in workloads))
    space.allowed([tuple(axis.domain.at(0.0) for axis in axes)])  # raises: dimensions that do not agree
    return space


def workload_value(workload: Workload, path: str) -> object:
    """The validated value at a path of a workload: of its spec, or of an option of one of its transforms."""
    parts = split_path(path)
    if len(parts) > 3 and parts[0] == "transforms" and isinstance(parts[1], int):
        transform = _transform(workload.spec, parts[1], str(parts[2]))
        return value_at(transform, ".".join(map(str, parts[3:])))
    return value_at(workload.spec, path)


def _transform(spec: WorkloadSpec, index: int, name: str) -> Transform:
    entry = spec.transforms[index]
    options = entry.get(name) if isinstance(entry, dict) else None
    kind: type[Transform] = registry.load(registry.TRANSFORMS, name)
    return kind.from_options(options or {}, f"transforms.{index}.{name}")


def _workload_unit(path: str) -> str | None:
    parts = split_path(path)
    if len(parts) > 3 and parts[0] == "transforms":
        return unit_at(registry.load(registry.TRANSFORMS, str(parts[2])), parts[3:])
    return unit_at(WorkloadSpec, parts)


def _moved(fault: SpecError, where: Location) -> SpecError:
    """The fault of a candidate, shown where the candidate is written."""
    place = fault.where if isinstance(fault.where, Location) and fault.where.line else where
    return SpecError(fault.message, where=place, got=fault.got, expected=fault.expected, remedy=fault.remedy)


def _sweep_definition(path: str, given: Tree) -> list[Tree] | Range:
    if isinstance(given, dict):
        return validate(Range, Document(f"--sweep {path}", [], given))
    values = list(given) if isinstance(given, (list, tuple)) else [given]
    if not values:
        raise SpecError(f"--sweep {path} has no values", expected="one value or more")
    return values


def _axis(
    arch: Arch, workloads: Sequence[Workload], path: str, definition: list[Tree] | Range, where: Location
) -> Axis:
    axis = Axis(path, Choices(()))
    if split_path(path)[0] in NOT_HARDWARE:
        raise SpecError(f"{path} cannot be explored", expected="a field of the hardware or `workload.` and its field")
    unit = _workload_unit(axis.field_path) if axis.of_workload else unit_at(type(arch.spec), split_path(path))
    if isinstance(definition, Range):
        values = [_validated(arch, workloads, axis, bound, where) for bound in (definition.low, definition.high)]
        return Axis(path, _range_domain(path, definition, values, unit or ""), unit or "")
    choices: list[Tree] = []
    for index, raw in enumerate(definition):
        place = where if where.line is None else arch.document.place(("search", path, index))
        value = _validated(arch, workloads, axis, raw, place)
        if value not in choices:
            choices.append(value)
    return Axis(path, Choices(tuple(choices)), unit or "")


def _validated(arch: Arch, workloads: Sequence[Workload], axis: Axis, raw: Tree, where: Location) -> Tree:
    """The SI value that `raw` gives in the spec; a choice that is no scalar (a mapping, a list) stays as it is."""
    try:
        if axis.of_workload:
            found = [workload_value(w.with_values({axis.field_path: raw}), axis.field_path) for w in workloads]
            value = found[0] if found else raw
        else:
            value = value_at(arch.with_values({axis.path: raw}).spec, axis.path)
    except SpecError as error:
        faults = [_moved(fault, where) for fault in getattr(error, "errors", (error,))]
        raise SpecErrorGroup(faults) from error
    return value if isinstance(value, (bool, int, float, str)) else raw


def _range_domain(path: str, given: Range, bounds: Sequence[Tree], unit: str) -> Domain:
    low, high = bounds
    if not (is_number(low) and is_number(high)):
        raise SpecError(f"{path} is not a number", got=low, expected="a list of choices", remedy="write `[a, b]`")
    if not low < high:
        raise SpecError(f"{path}: low = {given.low} is not below high = {given.high}", expected="low < high")
    if given.log and low <= 0:
        raise SpecError(f"{path}: low = {given.low} on a log axis", expected="a value above 0")
    whole = isinstance(low, int) and isinstance(high, int)
    if given.step is None:
        return Steps(low, 1, high - low + 1, given.log) if whole else Interval(float(low), float(high), given.log)
    if given.log:
        raise SpecError(f"{path} has both `log` and `step`", expected="one of them", remedy="list the values: `[a, b]`")
    step = parse(given.step, unit) if isinstance(given.step, str) else given.step
    if not is_number(step) or not 0 < step <= high - low:
        raise SpecError(f"{path}: step = {given.step}", got=given.step, expected="above 0 and at most high - low")
    if whole and step != int(step):
        raise SpecError(f"{path}: step = {given.step}", got=given.step, expected="a whole number")
    return Steps(low, int(step) if whole else float(step), step_count(low, high, step))


def _fixed(
    arch: Arch, workload: Workload, constraints: Sequence[Constraint], axes: Sequence[Axis]
) -> Mapping[str, Values]:
    """The fields constraints name that no axis varies, with their units."""
    varied = {axis.path for axis in axes}
    return dict(_looked_up(arch, workload, c, path) for c in constraints for path in c.paths if path not in varied)


def _looked_up(arch: Arch, workload: Workload, constraint: Constraint, path: str) -> tuple[str, Values]:
    field_path = path.removeprefix(WORKLOAD_PREFIX)
    try:
        if field_path != path:
            return path, Values(workload_value(workload, field_path), _workload_unit(field_path))
        return path, Values(value_at(arch.spec, path), unit_at(type(arch.spec), split_path(path)))
    except SpecError as error:
        raise SpecError(
            f"constraint {constraint.text!r} names {path}, which is not a field",
            where=constraint.where,
            expected="fields of the arch, or `workload.` and a field of the workload",
            remedy='quote a quantity or a text: `"8 MiB"`',
        ) from error
