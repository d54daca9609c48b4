"""Requirements of small programs: SRDD, the set of ChatDev.

Source: Qian et al. 2024, arXiv:2307.07924; `SRDD/data/data_attribute_format.csv` of OpenBMB/ChatDev, columns Name,
Description, Category. There is one published table; it is divided between search and test by hash.
"""

from __future__ import annotations

from agenttts.preparation.base import Made, Report, Row, Tables, UnusableError, Wish, column, divide

__all__ = ["prepare_requirements"]


def prepare_requirements(tables: Tables, wish: Wish, report: Report) -> Made:
    """Return requirements with `description` and `category`; the identifier is the program's name."""
    chosen = divide(
        tables, wish, _problem, identity=_identity, text=lambda problem: str(problem["description"])
    )
    return Made(chosen.search, chosen.test, chosen.left_out, chosen.n_rows, left_out_ids=chosen.left_out_ids)


def _identity(row: Row) -> str:
    return str(column(row, "Name", "name")).strip()


def _problem(row: Row) -> Row:
    description = str(column(row, "Description", "description")).strip()
    if not _identity(row) or not description:
        raise UnusableError("it has no name or no description")
    return {
        "id": _identity(row),
        "description": description,
        "category": str(column(row, "Category", "category")).strip(),
    }
