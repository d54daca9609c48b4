"""Prompts for planners: Jinja2 files that a user can read and replace, rendered in a sandbox.

Each allocator that asks a planner has a folder of its own under `prompts/`; `prompts/shared/` holds what several of
them include. A folder given by the user stands in front of both: a file of the same name replaces the package's, the
others stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agenttts.errors import InputError
from agenttts.models.base import Message

__all__ = ["PromptFiles"]

PACKAGE_FOLDER = Path(__file__).parent / "prompts"
SUFFIX = ".j2"


@dataclass(frozen=True)
class PromptFiles:
    """The prompts of one allocator."""

    allocator: str
    """Name of the folder under `prompts/`."""
    environment: ImmutableSandboxedEnvironment

    @classmethod
    def load(cls, allocator: str, folder: str | None = None) -> PromptFiles:
        """Read all prompts of an allocator, so that a broken file is found before anything is spent.

        Args:
            allocator: Name of the allocator.
            folder: Folder with files that replace those of the package; `None`: the package's alone.

        Raises:
            InputError: There is no such folder, or a file is not a template.
        """
        if folder is not None and not Path(folder).is_dir():
            raise InputError(
                f"planner prompts: {folder} is not a folder. Give one with *{SUFFIX} files in it"
            )
        if folder is not None:
            _check_names(Path(folder), allocator)
        own = [PACKAGE_FOLDER / allocator, PACKAGE_FOLDER / "shared"]
        folders = own if folder is None else [Path(folder), *own]
        loaders: list[BaseLoader] = [FileSystemLoader(place) for place in folders]
        # No autoescape: these are prompts, not pages. A missing variable is an error, never an empty text.
        environment = ImmutableSandboxedEnvironment(
            loader=ChoiceLoader(loaders),
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        prompts = cls(allocator, environment)
        for name in prompts.names:
            prompts._compile(name)
        return prompts

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the prompts, without the suffix."""
        found = self.environment.list_templates(extensions=[SUFFIX.lstrip(".")])
        return tuple(name.removesuffix(SUFFIX) for name in found)

    def messages(self, name: str, values: Mapping[str, Any]) -> tuple[Message, ...]:
        """Render a prompt as one message of the user.

        Raises:
            InputError: The template uses what it is not given, or does what the sandbox forbids.
        """
        template = self._compile(name)
        try:
            return (Message("user", template.render(values).strip()),)
        except TemplateNotFound as error:
            raise InputError(
                f"planner prompt {template.filename}: there is no file `{error}` to include. "
                f"There are: {', '.join(self.names)}"
            ) from error
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise InputError(
                f"planner prompt {template.filename}: {_sentence(error)} There are: {', '.join(sorted(values))}"
            ) from error

    def _compile(self, name: str) -> Any:
        try:
            return self.environment.get_template(name + SUFFIX)
        except TemplateSyntaxError as error:
            raise InputError(
                f"{error.filename}:{error.lineno}: {_sentence(error.message)} Mend the template"
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"planner prompt {name}{SUFFIX} of {self.allocator}: the file is not UTF-8 ({error.reason} at byte "
                f"{error.start}). Save it as UTF-8"
            ) from error
        except TemplateError as error:
            raise InputError(f"planner prompt {name}{SUFFIX} of {self.allocator}: {error}") from error


def _sentence(message: object) -> str:
    """Return a message with exactly one full stop."""
    return f"{str(message).rstrip('.')}."


def _check_names(folder: Path, allocator: str) -> None:
    """Refuse a folder of the user that replaces nothing: a misnamed file would be ignored without a word.

    Raises:
        InputError: It holds no prompt file, or none of the package's name.
    """
    given = sorted(path.name for path in folder.glob(f"*{SUFFIX}"))
    own = sorted(
        {path.name for place in (allocator, "shared") for path in (PACKAGE_FOLDER / place).glob(f"*{SUFFIX}")}
    )
    if not given:
        raise InputError(f"planner prompts: {folder} holds no *{SUFFIX} file. Names: {', '.join(own)}")
    for name in given:
        near = get_close_matches(name, own, n=1, cutoff=0.75)
        if name not in own and near and near[0] not in given:
            raise InputError(
                f"planner prompts: {folder / name} replaces no prompt of {allocator}. Did you mean `{near[0]}`?"
            )
    if not set(given) & set(own):
        raise InputError(
            f"planner prompts: no file of {folder} replaces a prompt of {allocator}. Names: {', '.join(own)}"
        )
