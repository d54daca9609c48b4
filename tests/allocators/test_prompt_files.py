"""Prompt files: the package's, the user's in front of them, and what is wrong with them."""

import pytest

from agenttts.allocators.base import AllocatorOptions, make_allocator
from agenttts.allocators.prompt_files import PACKAGE_FOLDER, PromptFiles
from agenttts.errors import InputError


@pytest.mark.parametrize("allocator", ["agenttts", "agenthpo", "llm_zs", "mlcopilot"])
def test_every_prompt_of_the_package_is_a_template(allocator):
    own = {path.stem for path in (PACKAGE_FOLDER / allocator).glob("*.j2")}
    assert own
    assert own <= set(PromptFiles.load(allocator).names)


def test_a_file_of_the_user_replaces_the_one_of_the_same_name(tmp_path):
    (tmp_path / "propose.j2").write_text("Say {{ k }} things.\n{% include 'reply.j2' %}")
    (tmp_path / "reply.j2").write_text("In any form.\n")
    (message,) = PromptFiles.load("llm_zs", str(tmp_path)).messages("propose", {"k": 3})
    assert (message.role, message.content) == ("user", "Say 3 things.\nIn any form.")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        PromptFiles.load("llm_zs", str(tmp_path / "missing"))


def test_a_broken_template_is_named_with_its_line_before_anything_is_asked(tmp_path):
    (tmp_path / "propose.j2").write_text("first\n{% if %}\n")
    with pytest.raises(InputError, match=r"propose\.j2:2: "):
        PromptFiles.load("llm_zs", str(tmp_path))


def test_a_missing_variable_is_named_with_those_that_there_are(tmp_path):
    (tmp_path / "propose.j2").write_text("{{ tasks }}")
    prompts = PromptFiles.load("llm_zs", str(tmp_path))
    with pytest.raises(InputError, match=r"propose\.j2: 'tasks' is undefined\. There are: k, task"):
        prompts.messages("propose", {"task": "t", "k": 1})


def test_a_template_cannot_leave_the_sandbox(tmp_path):
    (tmp_path / "propose.j2").write_text("{{ ''.__class__.__mro__ }}")
    prompts = PromptFiles.load("llm_zs", str(tmp_path))
    with pytest.raises(InputError, match="unsafe"):
        prompts.messages("propose", {})


@pytest.mark.parametrize(
    ("allocator", "prompt"),
    [
        (path.parent.name, path.stem)
        for path in sorted(PACKAGE_FOLDER.glob("*/*.j2"))
        if path.parent.name in ("agenttts", "agenthpo", "llm_zs", "mlcopilot")
    ],
)
def test_a_prompt_that_uses_what_it_is_not_given_is_refused_when_the_allocator_is_made(
    tmp_path, allocator, prompt
):
    (tmp_path / f"{prompt}.j2").write_text("{{ no_such_thing }}")
    with pytest.raises(InputError, match="'no_such_thing' is undefined"):
        make_allocator(allocator, AllocatorOptions(prompts=str(tmp_path)))


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "propose.j2").write_bytes(b"caf\xe9 {{ k }}")
    with pytest.raises(InputError, match=r"propose\.j2 of llm_zs: the file is not UTF-8"):
        PromptFiles.load("llm_zs", str(tmp_path))


def test_a_misnamed_or_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no \*\.j2 file"):
        PromptFiles.load("llm_zs", str(tmp_path))
    (tmp_path / "prpose.j2").write_text("x")
    with pytest.raises(InputError, match=r"Did you mean `propose\.j2`"):
        PromptFiles.load("llm_zs", str(tmp_path))


def test_a_missing_include_is_said_to_be_one(tmp_path):
    (tmp_path / "propose.j2").write_text("{% include '/etc/passwd' %}")
    with pytest.raises(InputError, match=r"there is no file `/etc/passwd` to include"):
        PromptFiles.load("llm_zs", str(tmp_path)).messages("propose", {})
