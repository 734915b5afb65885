"""The parameters of a template in the form: from its JSON Schema to the spec, beside changes by hand."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from minipach.console import template_form
from minipach.project.project import Project
from minipach.support.errors import UserError
from tests.fixtures.consoles import HOST, ask, console_of
from tests.fixtures.stories import troubled

OURS = {"Origin": f"http://{HOST}", "Content-Type": "application/x-www-form-urlencoded"}
TRAIN = "library:train"


def sent(text: str, values: str = "{}", **fields: str) -> dict[str, str]:
    named = {f"p.{name}": value for name, value in fields.items()}
    return {"template": TRAIN, "repo": "images", "path": "train", "text": text, "values": values, **named}


@pytest.fixture
def project() -> Project:
    return Project(troubled().root)


@pytest.fixture
def text(project: Project) -> str:
    from minipach.templates.draft import to_yaml

    return to_yaml(template_form.draft_of(project, TRAIN, "train", {}, "images"))


def test_each_parameter_is_a_field_by_its_schema(project: Project) -> None:
    fields = {one.name: one for one in template_form.parameters(project, TRAIN, {"lr": 0.5}, {})}
    assert (fields["lr"].kind, fields["lr"].value, fields["lr"].default) == ("number", "0.5", "0.1")
    assert (fields["image"].kind, fields["image"].value) == ("text", "")
    assert all(one.description for one in fields.values())


def test_a_value_changes_the_spec_and_keeps_what_was_written_by_hand(project: Project, text: str) -> None:
    mine = "# mine\n" + text
    found = template_form.filled(project, sent(mine, epochs="7"), "train")
    assert found.text.startswith("# mine\n") and "7" in found.text and found.values == {"epochs": 7}
    again = template_form.filled(project, sent(found.text, template_form.as_values(found.values)), "train")
    assert again.text == mine, "without the value, the default is back"
    assert template_form.filled(project, sent(mine), "train").text == mine


def test_a_value_that_does_not_fit_is_refused(project: Project, text: str) -> None:
    for fields in ({"lr": "-1"}, {"epochs": "many"}, {"gpus": "0"}):
        with pytest.raises(UserError) as error:
            template_form.filled(project, sent(text, **fields), "train")
        assert error.value.problems[0].location == f"parameter {next(iter(fields))}"


def test_a_value_does_not_overwrite_a_change_by_hand(project: Project, text: str) -> None:
    [line] = [line for line in text.split("\n") if "200" in line]
    with pytest.raises(UserError) as error:
        template_form.filled(project, sent(text.replace(line, line.replace("200", "300")), epochs="7"), "train")
    assert error.value.problems[0].code == "compose.changed"


@pytest.mark.parametrize("values", ["", "[]", "nonsense", '{"lr": []}', '{"x": 1}', '{"lr": NaN}'])
def test_odd_hidden_values_break_nothing(values: str, text: str) -> None:
    body = urlencode({**sent(text, values), "base": "new", "before": text, "do": "preview"}).encode()
    answer = ask(console_of(troubled(), actions=True), "compose", method="POST", body=body, headers=OURS)
    assert answer.status_code == 200


def test_the_page_has_the_fields_and_names_the_files() -> None:
    console = console_of(troubled(), actions=True)
    page = ask(console, "compose?new=1&template=library%3Atrain")
    assert 'name="p.lr"' in page.text and "Learning rate" in page.text
    data = ask(console, "compose.json?new=1&template=library%3Atrain").json()
    assert any(file.endswith("/code/train.py") for file in data["files"]) and data["failed"] == []
    body = urlencode({**sent(data["text"], lr="0"), "base": "new", "before": data["text"], "do": "preview"}).encode()
    refused = ask(console, "compose", method="POST", body=body, headers=OURS)
    assert "parameter lr" in refused.text and 'value="0"' in refused.text
