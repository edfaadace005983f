"""Formulas as a line of text: Greek letters, signs, fractions and roots as they are read aloud from left to right."""

from __future__ import annotations

import re

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
_SPACE = re.compile(r"\s+")
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
    plain = _SPACE.sub(" ", text.replace("{", "").replace("}", "").replace("❴", "{").replace("❵", "}")).strip()
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
