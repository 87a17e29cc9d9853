"""What can be wrong with a catalogue file, told so that its author can mend it. Pure."""

from dataclasses import dataclass, field
from typing import NoReturn


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault of a catalogue file: where it is, what it is, and what to do."""

    file: str
    place: str  # a path of names, e.g. items/VN3/text/clinician/es, or "line 12" where there is no structure yet
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.place}: {self.what} {self.remedy}"


class CatalogueError(ValueError):
    """A catalogue file cannot be used; `problems` holds every fault found, in the order of the reading."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(slots=True, kw_only=True)
class ProblemLog:
    """Gathers the faults of one file, so that its author sees all of them at once."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def add(self, place: str, what: str, remedy: str) -> None:
        """Note one fault and go on reading."""
        self.problems.append(Problem(file=self.file, place=place, what=what, remedy=remedy))

    def fail(self, place: str, what: str, remedy: str) -> NoReturn:
        """Note a fault behind which nothing more can be read, and end the reading.

        Raises
        ------
        CatalogueError
            Holding every fault noted so far.
        """
        self.add(place, what, remedy)
        raise CatalogueError(tuple(self.problems))

    def raise_if_any(self) -> None:
        """End the reading if anything was found.

        Raises
        ------
        CatalogueError
            Holding every fault noted so far.
        """
        if self.problems:
            raise CatalogueError(tuple(self.problems))
