"""A wiki page's markup as the text that its readers see: marks of bold and italic by MediaWiki's own rules, formulas
as a line, language variants, headings.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from index_builder.documents.document import Section
from index_builder.documents.outline import raised
from index_builder.documents.wiki.balanced import Unfolder, drop_elements
from index_builder.documents.wiki.site import UNKNOWN_SITE, Site, is_appendix

_MARKS = re.compile(r"('{2,})")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_NOWIKI = re.compile(r"<nowiki>(.*?)(?:</nowiki>|\Z)", re.DOTALL | re.IGNORECASE)
_EMPTY_NOWIKI = re.compile(r"<nowiki\s{0,5}/>", re.IGNORECASE)
_FORMULA = re.compile(r"<(math|chem|ce)\b[^<>]{0,200}(?<!/)>(.{0,20000}?)</\1\s{0,5}>", re.DOTALL | re.IGNORECASE)
_CODE = re.compile(
    r"<(syntaxhighlight|source|pre)\b[^<>]{0,200}(?<!/)>(.{0,100000}?)</\1\s{0,5}>", re.DOTALL | re.IGNORECASE
)
# Shields literal markup characters from the passes below; private-use code points never occur in prose.
_SHIELD = str.maketrans(
    "[]{}|='<>&*#:;", "\ue000\ue001\ue002\ue003\ue004\ue005\ue006\ue007\ue008\ue009\ue00a\ue00b\ue00c\ue00d"
)
_SIMPLE_LINK = re.compile(r"\[\[(?:[^\[\]|{}\n:]{1,300}\|)?([^\[\]|{}\n:]{1,300})\]\]")
_URL_LINK = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\[\]]{1,2000}(?:[ \t]+([^\[\]\n]{0,500}))?\]")
_VARIANT = re.compile(r"(?<!\{)-\{(?!\{)([^{}]{0,2000})\}-")
_RAISED = re.compile(r"<sup\b[^<>]{0,200}>\s{0,5}([+\-−–]?\d{1,20})\s{0,5}</sup\s{0,5}>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_BREAK = re.compile(
    r"<\s?/?(?:br|p|div|li|hr|blockquote|tr|td|th|table|dd|dt|center|poem)\b[^<>]{0,200}>", re.IGNORECASE
)
_SWITCH = re.compile(r"__[A-Z]{3,30}__")
_HEADING = re.compile(r"^(={1,6})[ \t]*([^\n]{0,300}?)[ \t]*\1[ \t]*$", re.MULTILINE)
_SPACE = re.compile(r"[ \t\u00a0\u2002-\u200a\u202f\u3000]+")
_EMPTY_BRACKETS = re.compile(r"\([\s,;:–-]{0,20}\)|\[[\s,;]{0,20}\]")
_BRACKET_START = re.compile(r"\([\s,;:]{1,20}")
_BRACKET_END = re.compile(r"[\s,;:]{1,20}\)")
_BEFORE_STOP = re.compile(r" ([,.;:!?)])(?=\s|$)")
_DOUBLED_COMMA = re.compile(r",(?: ?,){1,10}")
_BULLET = re.compile(r"^[*#:;]+[ \t]*")
_INVISIBLE = re.compile("[\u00ad\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")  # marks that nobody sees
_LETTER = re.compile(r"[^\W\d_]")
_VARIANTS_HIDDEN = re.compile(r"^\s*[HT+\-]\s*\|")
_VARIANT_CHOICE = re.compile(
    r"(?:^|[;|])\s*(?:[^;|:=]{0,60}=>)?\s*([a-z]{2,3}(?:-[a-z]{2,4})?)\s*:\s*([^;]*)", re.IGNORECASE
)


def without_marks(text: str) -> str:
    """`text` without the marks of bold and italic; apostrophes beside them stay."""
    if "''" not in text:
        return text
    return "\n".join(_line(line) if "''" in line else line for line in text.split("\n"))


def _line(line: str) -> str:
    pieces = _MARKS.split(line)
    lengths = []
    for number in range(1, len(pieces), 2):
        length = len(pieces[number])
        literal = 1 if length == 4 else max(0, length - 5)
        pieces[number - 1] += "'" * literal
        lengths.append(length - literal)
    bold = sum(length in (3, 5) for length in lengths)
    italic = sum(length in (2, 5) for length in lengths)
    if bold % 2 and italic % 2:
        _give_one_back(pieces, lengths)
    return "".join(pieces[::2])


def _give_one_back(pieces: list[str], lengths: list[int]) -> None:
    """Marks that do not pair: one bold mark is an apostrophe and an italic one, best behind a word of one letter."""
    letter = word = space = None
    for number, length in enumerate(lengths):
        if length != 3:
            continue
        before = pieces[2 * number]
        if before[-1:] == " " or not before:
            space = number if space is None else space
        elif before[-2:-1] == " ":
            letter = number
            break
        elif word is None:
            word = number
    chosen = next((number for number in (letter, word, space) if number is not None), None)
    if chosen is not None:
        pieces[2 * chosen] += "'"


_UNSHIELD = {shield: plain for plain, shield in _SHIELD.items()}


@dataclass(frozen=True)
class Prose:
    """The text of a page by heading, and how many parts of which kind were left out."""

    sections: tuple[Section, ...]
    dropped: Mapping[str, int]


def read_markup(text: str, site: Site = UNKNOWN_SITE) -> Prose:
    """The text of a page; appendices (references, links...) and sections without text are left out, so that no section
    means a page without any.
    """
    dropped: Counter[str] = Counter()
    found = []
    for heading, body in _split_headings(_strip(text, site, dropped), dropped):
        paragraphs = _paragraphs(body)
        if paragraphs:
            found.append(Section(heading, paragraphs))
    return Prose(tuple(found), dict(dropped))


def plain(markup: str, site: Site = UNKNOWN_SITE) -> str:
    """One line of markup as plain text."""
    return " ".join(_paragraphs(_strip(markup, site, Counter())))


def _strip(text: str, site: Site, dropped: Counter[str]) -> str:
    text = _COMMENT.sub("", text)
    text = _EMPTY_NOWIKI.sub("\ue010", text)
    text = _NOWIKI.sub(lambda found: found.group(1).translate(_SHIELD), text)
    text = _CODE.sub(_code, text)
    text = _FORMULA.sub(lambda found: f" {_formula(found)} ".translate(_SHIELD), text)
    text = drop_elements(text, dropped)
    text = _VARIANT.sub(_variant, text) if "-{" in text else text
    text = _RAISED.sub(lambda found: raised(found.group(1)), text)
    text = _SIMPLE_LINK.sub(r"\1", text)
    text = Unfolder(site, dropped).unfold(text)
    text = _URL_LINK.sub(r"\1", text)
    text = _BREAK.sub("\n", text)
    text = _TAG.sub("", text)
    text = without_marks(text)
    text = _SWITCH.sub("", text)
    return _INVISIBLE.sub("", html.unescape(text)).replace("\ue010", "")


def _formula(found: re.Match[str]) -> str:
    inside = html.unescape(found.group(2))
    if found.group(1).lower() == "math":
        return readable(inside)
    return inside.strip().replace("<=>", "⇌").replace("->", "→")


def _code(found: re.Match[str]) -> str:
    """Lines of code as they stand; blank lines part them."""
    lines = [line.strip() for line in html.unescape(found.group(2)).strip("\n").split("\n")]
    return "\n" + "\n".join(lines).translate(_SHIELD) + "\n"


def _variant(found: re.Match[str]) -> str:
    """The text for one of a language's scripts or countries: the first that is named."""
    inside = found.group(1)
    if _VARIANTS_HIDDEN.match(inside):
        return ""
    choices = _VARIANT_CHOICE.findall(inside)
    if choices:
        return str(choices[0][1]).strip()
    return inside.partition("|")[2] if "|" in inside else inside


def _split_headings(text: str, dropped: Counter[str]) -> list[tuple[str, str]]:
    """(path of headings, body) in order; appendices and everything below them are dropped, and counted."""
    found: list[tuple[str, str]] = []
    path: dict[int, str] = {}
    start = 0
    for match in _HEADING.finditer(text):
        _keep(found, path, text[start : match.start()], dropped=dropped)
        level, start = len(match.group(1)), match.end()
        path = {depth: name for depth, name in path.items() if depth < level}
        path[level] = match.group(2).strip().translate(_UNSHIELD)
    _keep(found, path, text[start:], dropped=dropped)
    return found


def _keep(found: list[tuple[str, str]], path: dict[int, str], body: str, dropped: Counter[str]) -> None:
    if not any(is_appendix(name) for name in path.values()):
        found.append((" > ".join(path[depth] for depth in sorted(path)), body))
    elif body.strip():
        dropped["appendix section"] += 1


def _paragraphs(body: str) -> tuple[str, ...]:
    """The lines that hold words, without bullets, doubled spaces and what removed markup left behind."""
    body = _SPACE.sub(" ", body)
    body = _EMPTY_BRACKETS.sub("", body)
    body = _BRACKET_START.sub("(", body)
    body = _BRACKET_END.sub(")", body)
    body = _BEFORE_STOP.sub(r"\1", _SPACE.sub(" ", body))
    body = _DOUBLED_COMMA.sub(",", body)
    lines = (_BULLET.sub("", line.strip()).strip().translate(_UNSHIELD) for line in body.split("\n"))
    return tuple(line for line in lines if _LETTER.search(line))


_SIGNS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "vartheta": "ϑ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "pi": "π",
    "rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ",
    "omega": "ω",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ",
    "Psi": "Ψ",
    "Omega": "Ω", "sum": "∑", "prod": "∏", "int": "∫", "oint": "∮", "partial": "∂", "nabla": "∇", "infty": "∞",
    "times": "×", "cdot": "·", "div": "÷", "pm": "±", "mp": "∓", "le": "≤", "leq": "≤", "ge": "≥",
    "geq": "≥", "ne": "≠",
    "neq": "≠", "approx": "≈", "equiv": "≡", "sim": "∼", "simeq": "≃", "propto": "∝", "ll": "≪", "gg": "≫", "in": "∈",
    "notin": "∉", "subset": "⊂", "subseteq": "⊆", "supset": "⊃", "cup": "∪", "cap": "∩", "emptyset": "∅",
    "forall": "∀",
    "exists": "∃", "neg": "¬", "land": "∧", "wedge": "∧", "lor": "∨", "vee": "∨", "to": "→", "rightarrow": "→",
    "leftarrow": "←", "Rightarrow": "⇒", "Leftarrow": "⇐", "leftrightarrow": "↔", "Leftrightarrow": "⇔", "iff": "⇔",
    "mapsto": "↦", "longrightarrow": "⟶", "rightleftharpoons": "⇌", "ldots": "…", "dots": "…", "cdots": "⋯",
    "prime": "′",
    "circ": "∘", "degree": "°", "hbar": "ℏ", "ell": "ℓ", "Re": "Re", "Im": "Im", "angle": "∠", "perp": "⊥",
    "parallel": "∥", "otimes": "⊗", "oplus": "⊕", "star": "⋆", "ast": "∗", "bullet": "•", "langle": "⟨",
    "rangle": "⟩",
    "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|",
    "Vert": "‖", "quad": " ", "qquad": " ", "lbrace": "{", "rbrace": "}", "aleph": "ℵ", "colon": ":",
}  # fmt: skip
_DROPPED = frozenset(
    [
        "left",
        "right",
        "displaystyle",
        "textstyle",
        "scriptstyle",
        "limits",
        "nolimits",
        "big",
        "Big",
        "bigg",
        "Bigg",
        "bigl",
        "bigr",
        "Bigl",
        "Bigr",
        "mathrm",
        "mathbf",
        "mathit",
        "mathcal",
        "mathbb",
        "mathfrak",
        "mathsf",
        "boldsymbol",
        "operatorname",
        "text",
        "textrm",
        "textbf",
        "textit",
        "mbox",
        "hbox",
        "rm",
        "bf",
        "it",
        "begin",
        "end",
        "boldmath",
        "pmb",
        "nonumber",
        "hline",
        "middle",
        "tfrac",
    ]
) - {"tfrac"}
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\s*\{[a-zA-Z*]{1,30}\}(?:\{[^{}]{0,40}\})?")
_STYLED = re.compile(r"\\(?:text|math|operator|mbox|hbox)[a-z]{0,4}\*?\s*\{([^{}]{0,300})\}")
_FRACTION = re.compile(r"\\[tdc]?frac\s*(?:\{([^{}]{0,300})\}|(\w))\s*(?:\{([^{}]{0,300})\}|(\w))")
_ROOT = re.compile(r"\\sqrt\s*(?:\[([^\[\]]{0,40})\])?\s*(?:\{([^{}]{0,300})\}|(\w))")
_BINOMIAL = re.compile(r"\\[td]?binom\s*\{([^{}]{0,200})\}\s*\{([^{}]{0,200})\}")
_NAMED = re.compile(r"\\([a-zA-Z]+)\*?\s?")
_SPACED = re.compile(r"\\[,;:! ]|~|&|\\\\")
_ESCAPED = re.compile(r"\\([{}$%#_&|])")
_GROUP = re.compile(r"\{([^{}]{0,300})\}")
_TEX_SPACE = re.compile(r"\s+")
_MAX_ROUNDS = 12


def readable(tex: str) -> str:
    """A formula in TeX as one line."""
    text = _ESCAPED.sub(
        lambda found: {"{": "❴", "}": "❵"}.get(found.group(1), found.group(1)), _ENVIRONMENT.sub(" ", tex)
    )
    for _ in range(_MAX_ROUNDS):
        before = text
        text = _STYLED.sub(r"\1", text)
        text = _FRACTION.sub(lambda found: _quotient(found[1] or found[2] or "", found[3] or found[4] or ""), text)
        text = _ROOT.sub(lambda found: f"{found[1] or ''}√{_bracketed(found[2] or found[3] or '')}", text)
        text = _BINOMIAL.sub(r"(\1 over \2)", text)
        if text == before:
            break
        text = re.sub(r"(?<![\\a-zA-Z}\]^_])\{([^{}\\]{0,300})\}", r"\1", text)
    text = _NAMED.sub(_sign, _SPACED.sub(" ", text))
    for _ in range(_MAX_ROUNDS):
        before, text = text, _GROUP.sub(lambda found: found[1] if len(found[1]) < 2 else f"({found[1]})", text)
        if text == before:
            break
    plain = _TEX_SPACE.sub(" ", text.replace("{", "").replace("}", "").replace("❴", "{").replace("❵", "}")).strip()
    return re.sub(r"(?<![\^_\w)√])\((\w+)\)", r"\1", plain)


def _sign(found: re.Match[str]) -> str:
    name = found.group(1)
    if name in _DROPPED:
        return ""
    sign = _SIGNS.get(name)
    return f"{sign} " if sign and sign.isalpha() and found.group().endswith(" ") else sign if sign else f"{name} "


def _quotient(above: str, below: str) -> str:
    return f"{_bracketed(above)}/{_bracketed(below)}"


def _bracketed(term: str) -> str:
    stripped = term.strip()
    return stripped if re.fullmatch(r"\\?\w+", stripped) else f"({stripped})"
