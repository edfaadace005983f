"""A checkpoint's chat template becomes a format that writes what transformers would render, or is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from server.chat.prompt.choose_format import choose_format
from server.chat.prompt.formats import CHATML, DOLLY, OPENASSISTANT, OPENCHATKIT
from server.chat.prompt.prompt import PromptBuilder
from server.chat.prompt.template_format import SpecialTokens, format_of_template
from server.chat.records.turn_records import Turn
from server.config import ConfigError
from tests.unit.chat.prompt.chat_tokenizers import TAGS, chat_tokenizer, definition, tagged_definition

TOKENS = SpecialTokens("<s>", "</s>", ("<s>", "</s>", *TAGS))
DEFAULT_SYSTEM = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYSTEM_IN_QUESTION = (
    "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set first = '<<SYS>>\n' + messages[0].content"
    " + '\n<</SYS>>\n\n' %}{% else %}{% set rest = messages %}{% set first = '' %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}{{ bos_token }}[INST] {{ first if loop.first else '' }}{{ m.content }}"
    " [/INST]{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
WORDS_ALONE = (
    "{{ messages[0].content if messages[0].role == 'system' else 'A chat.' }}{% for m in messages %}"
    "{% if m.role == 'user' %} USER: {{ m.content }} ASSISTANT:{% elif m.role == 'assistant' %} {{ m.content }}</s>"
    "{% endif %}{% endfor %}"
)
TEMPLATES = {
    "default system": DEFAULT_SYSTEM,
    "system in question": SYSTEM_IN_QUESTION,
    "no system": NO_SYSTEM,
    "words alone": WORDS_ALONE,
}
ASKED, SAID = ["Who was it?", "When?", "Are you sure?"], ["He was.", "In 1809."]


def rendered(template: str, system: str, num_turns: int) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    for turn in range(num_turns):
        messages.append({"role": "user", "content": ASKED[turn]})
        if turn < num_turns - 1:
            messages.append({"role": "assistant", "content": SAID[turn]})
    variables = {"bos_token": TOKENS.bos, "eos_token": TOKENS.eos}
    texts, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **variables)
    return str(texts[0])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_is_what_the_template_renders(name: str) -> None:
    chat_format = format_of_template(TEMPLATES[name], TOKENS)
    builder = PromptBuilder(chat_tokenizer("tagged"), 4096, 100, chat_format)
    for system in ["", *(["Be brief."] if name != "no system" else [])]:
        for num_turns in (1, 2, 3):
            turns = [Turn(number + 1, ASKED[number], SAID[number], "stop", 0.0) for number in range(num_turns - 1)]
            prompt = builder.build(0.0, turns, [], ASKED[num_turns - 1], 64, system=system)
            written = chat_tokenizer("tagged").decode(list(prompt.token_ids))
            assert written == rendered(TEMPLATES[name], system, num_turns)


def test_a_system_text_that_the_template_refuses_opens_the_first_question() -> None:
    builder = PromptBuilder(chat_tokenizer("tagged"), 4096, 100, format_of_template(NO_SYSTEM, TOKENS))
    prompt = builder.build(0.0, [], [], "Who?", 64, system="Be brief.")
    written = chat_tokenizer("tagged").decode(list(prompt.token_ids))
    assert written == "<s><start_of_turn>user\nBe brief.\n\nWho?</s>\n<start_of_turn>model\n"


def test_a_date_in_a_template_is_that_of_the_session() -> None:
    template = "Today is {{ strftime_now('%d %b %Y') }}.\n" + DEFAULT_SYSTEM
    builder = PromptBuilder(chat_tokenizer("tagged"), 4096, 100, format_of_template(template, TOKENS))
    written = chat_tokenizer("tagged").decode(list(builder.build(1678457100.0, [], [], "Who?", 64).token_ids))
    assert written.startswith("Today is 10 Mar 2023.\n<|im_start|>system\nBe kind.")


@pytest.mark.parametrize(("name", "ends"), [("default system", ("<|im_end|>",)), ("words alone", ("</s>",))])
def test_the_token_behind_a_reply_ends_it(name: str, ends: tuple[str, ...]) -> None:
    assert format_of_template(TEMPLATES[name], TOKENS).end_tokens[: len(ends)] == ends


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for m in messages %}{{ m.content", "cannot be rendered"),
        ("{{ messages.pop() }}{{ ''.__class__.__mro__ }}", "cannot be rendered|turn by turn"),
        ("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}", "turn by turn"),
        ("nothing of it", "turn by turn"),
        ("{% for i in range(99999) %}" * 3 + "{% endfor %}" * 3, "not rendered within"),
        ("{{ 'x' * 10 ** 11 }}", "cannot be rendered|not rendered within"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_served_is_refused(template: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        format_of_template(template, TOKENS)


def checkpoint(folder: Path, tokenizer: str, family: str = "llama", **config: object) -> Path:
    (folder / "tokenizer.json").write_text(tokenizer)
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>", **config}))
    return folder


def with_tokens(*names: str) -> str:
    parsed = json.loads(definition("ordinary"))
    added = [{**parsed["added_tokens"][0], "id": 1500 + at, "content": name} for at, name in enumerate(names)]
    return json.dumps({**parsed, "added_tokens": [*parsed["added_tokens"], *added]})


def test_a_checkpoint_shows_its_format(tmp_path: Path) -> None:
    shown = {
        "template": (tagged_definition(), "llama", {"chat_template": DEFAULT_SYSTEM}),
        CHATML.name: (with_tokens("<|im_start|>"), "llama", {}),
        OPENASSISTANT.name: (with_tokens("<|prompter|>"), "gpt_neox", {}),
        DOLLY.name: (with_tokens("### Response:\n"), "gpt_neox", {}),
        OPENCHATKIT.name: (definition("ordinary"), "gpt_neox", {}),
    }
    for name, (tokenizer, family, config) in shown.items():
        assert choose_format("auto", checkpoint(tmp_path, tokenizer, family, **config)).name == name


def test_a_template_in_a_file_of_its_own_counts_before_any_other(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, tagged_definition(), chat_template=WORDS_ALONE)
    (folder / "chat_template.jinja").write_text(DEFAULT_SYSTEM)
    assert choose_format("template", folder).question[0].endswith("<|im_start|>user\n")


def test_a_checkpoint_that_shows_no_format_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, definition("ordinary"))
    with pytest.raises(ConfigError, match="shows no chat format of its own; legal are openchatkit, dolly"):
        choose_format("auto", folder)
    with pytest.raises(ConfigError, match="brings no chat template"):
        choose_format("template", folder)
    assert choose_format("alpaca", folder).name == "alpaca"
