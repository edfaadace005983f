"""The conversation formats that are known by name, each as its model was trained on it.

Sources: the model cards and inference code of OpenChatKit, Dolly 2, OpenAssistant's SFT models, Stanford Alpaca, Vicuna
1.1 (FastChat), Llama 2 chat (its reference code) and ChatML.
"""

from __future__ import annotations

from server.chat.prompt.chat_format import OPENCHATKIT, QUOTED_BACKGROUND, TOKEN_NAMES, ChatFormat, Place
from server.chat.text.neutralise import Markup

_INSTRUCTION_INTRO = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
)

DOLLY = ChatFormat(
    name="dolly",
    preamble=_INSTRUCTION_INTRO,
    system=("", "\n\n"),
    background=("Input:\n", "\n\n"),
    background_place=Place.AFTER,
    question=("### Instruction:\n", "\n\n"),
    reply=("### Response:\n", "\n\n### End\n\n"),
    ends=("### End", "### Instruction:"),
    end_tokens=("### End",),
    markup=Markup(
        tokens=TOKEN_NAMES, labels=("input",), literals=("### Instruction:", "### Response:", "### Input:", "### End")
    ),
)

ALPACA = ChatFormat(
    name="alpaca",
    preamble="{bos}" + _INSTRUCTION_INTRO,
    system=("", "\n\n"),
    background=("### Input:\n", "\n\n"),
    background_place=Place.AFTER,
    question=("### Instruction:\n", "\n\n"),
    reply=("### Response:\n", "{eos}\n\n"),
    ends=("### Instruction:", "\n### "),
    markup=Markup(tokens=TOKEN_NAMES, literals=("### Instruction:", "### Response:", "### Input:")),
)

OPENASSISTANT = ChatFormat(
    name="openassistant",
    system=("<|system|>", "{eos}"),
    background=("Background: ", "\n\n"),
    background_place=Place.INSIDE,
    question=("<|prompter|>", "{eos}"),
    reply=("<|assistant|>", "{eos}"),
    ends=("<|prompter|>", "<|endoftext|>"),
    end_tokens=("<|endoftext|>", "<|prompter|>"),
    markup=Markup(tokens=TOKEN_NAMES, labels=("background",)),
)

VICUNA = ChatFormat(
    name="vicuna",
    preamble="{bos}",
    default_system=(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
    system=("", " "),
    background=("Background: ", "\n\n"),
    background_place=Place.INSIDE,
    question=("USER: ", " "),
    reply=("ASSISTANT: ", "{eos}"),
    ends=("USER:", "</s>"),
    markup=Markup(tokens=TOKEN_NAMES, labels=("background",), literals=("USER:", "ASSISTANT:")),
)

LLAMA_2 = ChatFormat(
    name="llama-2",
    system=("<<SYS>>\n", "\n<</SYS>>\n\n"),
    system_in_question=True,
    background=("Background: ", "\n\n"),
    background_place=Place.INSIDE,
    question=("{bos} [INST] ", " [/INST]"),
    reply=(" ", " {eos}"),
    ends=("[INST]", "</s>"),
    markup=Markup(tokens=TOKEN_NAMES, labels=("background",), literals=("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")),
)

CHATML = ChatFormat(
    name="chatml",
    system=("<|im_start|>system\n", "<|im_end|>\n"),
    background=QUOTED_BACKGROUND,
    background_place=Place.INSIDE,
    numbers_passages=False,
    question=("<|im_start|>user\n", "<|im_end|>\n"),
    reply=("<|im_start|>assistant\n", "<|im_end|>\n"),
    ends=("<|im_end|>", "<|im_start|>"),
    end_tokens=("<|im_end|>", "<|endoftext|>"),
    markup=Markup(tokens=TOKEN_NAMES, labels=("background",)),
)

FORMATS = {each.name: each for each in (OPENCHATKIT, DOLLY, OPENASSISTANT, ALPACA, VICUNA, LLAMA_2, CHATML)}
