"""What a benchmark says: our rate beside the floor's, measured in turns in the same run.

Rates on a busy or a small machine mean little alone. So every figure has a floor that does the same outward work with
nothing of ours between, both are measured alternately, and the medians are told with their ratio.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.floors import Rate

Measure = Callable[[], Awaitable[Rate]]

HEAD = ("figure", "what", "per s", "CPU µs", "floor", "per s", "CPU µs", "rate ratio", "CPU ratio")
AMOUNTS_HEAD = ("figure", "what", "ours", "wanted at most", "floor", "takes")
LEFT = {"figure", "what", "floor"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One line of the table, and what else there is to know.

    CPU is that of the process measured, per operation, without servers and load.
    """

    name: str
    what: str
    ours: Rate
    floor_is: str
    floor: Rate
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """How much of the floor's rate is ours."""
        return self.ours.per_s / self.floor.per_s

    @property
    def cpu_ratio(self) -> float:
        """How many times the floor's CPU an operation costs us. Steadier than the rate on a busy machine."""
        return self.ours.cpu_us / self.floor.cpu_us

    def cells(self) -> tuple[str, ...]:
        """The line's texts, in the order of HEAD."""
        return (
            self.name,
            self.what,
            f"{self.ours.per_s:,.0f}",
            f"{self.ours.cpu_us:,.1f}",
            self.floor_is,
            f"{self.floor.per_s:,.0f}",
            f"{self.floor.cpu_us:,.1f}",
            f"{self.ratio:.2f}",
            f"{self.cpu_ratio:.1f}",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """One line of the table of amounts: what is small when it is good. `what` begins with the unit.

    `floor` is None where nothing does the same without Kurir.
    """

    name: str
    what: str
    ours: float
    at_most: float
    floor_is: str
    floor: float | None
    notes: tuple[str, ...] = ()

    def cells(self) -> tuple[str, ...]:
        """The line's texts, in the order of AMOUNTS_HEAD."""
        floor = "" if self.floor is None else f"{self.floor:,.2f}"
        return (self.name, self.what, f"{self.ours:,.2f}", f"{self.at_most:,.1f}", self.floor_is, floor)


AnyFigure = Figure | Amount


async def in_turns(rounds: int, measures: Mapping[str, Measure]) -> dict[str, Rate]:
    """Take each measure once per round, in turns, and return the median rate and median cost of each."""
    taken: dict[str, list[Rate]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            taken[name].append(await measure())
    return {name: middle(rates) for name, rates in taken.items()}


def middle(rates: Sequence[Rate]) -> Rate:
    """Median rate and median cost."""
    return Rate(per_s=median(rate.per_s for rate in rates), cpu_us=median(rate.cpu_us for rate in rates))


def tables(figures: Sequence[AnyFigure]) -> list[list[tuple[str, ...]]]:
    """The rows of rates and those of amounts, each below its head; what there are none of is left out."""
    rates = [figure.cells() for figure in figures if isinstance(figure, Figure)]
    amounts = [figure.cells() for figure in figures if isinstance(figure, Amount)]
    return [[head, *rows] for head, rows in ((HEAD, rates), (AMOUNTS_HEAD, amounts)) if rows]


def show(figures: Sequence[AnyFigure]) -> None:
    """Print figures as aligned tables, with their notes below."""
    for rows in tables(figures):
        head = rows[0]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        for row in rows:
            cells = [
                text.ljust(width) if head[column] in LEFT else text.rjust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            print("  ".join(cells).rstrip())
    for note in notes_of(figures):
        print(f"  {note}")
    print(flush=True)


def notes_of(figures: Sequence[AnyFigure]) -> list[str]:
    """All notes, each with its figure's name."""
    return [f"{figure.name}: {note}" for figure in figures for note in figure.notes]
