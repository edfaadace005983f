"""Which templates carry text, in the languages of the largest Wikipedias, and where in their arguments it stands."""

from __future__ import annotations


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split("|"))


# Templates whose first argument is part of the sentence, and those whose second or third is.
_FIRST = (
    "nowrap|nobr|nobold|small|smaller|big|larger|em|strong|strikethrough|s|u|i|b|bold|italic|abbr|abbrlink|tooltip|"
    "angbr|linktext|pslink|sic|mvar|var|unichar|noitalic|visible anchor|vanchor|linkedin|sc|smallcaps|sub|chem2|"
    "citation needed span|clarify span|underline|strike|unicode|sans-serif|serif|larger|script/hebrew|script/arabic|"
    "hebrew|angle bracket|uline|"
    "simplenuclide|nuclide|ill|interlanguage link|illm|link-interwiki|indent|center|nihongo2|vr|flag|flagu|"
    "flagcountry|"
    "flaglink|flagdeco name|ipa|large|format price|lit|literally|gloss|translation|math|hw|not a typo|"
    "as written|"
    "thinsp|nihongo foot|nbsp|section link|slink|music note|mono|code|tt|kbd|samp|keypress|key|"
    "transclude|notatypo|proper name|r to|bq|highlight|pagename|native name|native phrase|yes|no|n/a|na|won|"
    "nom|partial|"
    "unknown|tba|tbd|some|good|terminated|included|dropped|usually|rarely|maybe|optional|active|sure|"
    # German
    "zitat-blank|nwr|fett|kursiv|anker|höhe|formatnum|"
    # French
    "nobr romains|petites capitales|pc|abréviation|abrd|abréviation discrète|souligner|italique|romain|indice|"
    "ind|e|er|re|"
    "refnec|référence nécessaire|référence souhaitée|refsou|passage évasif|passage non neutre|pas clair|"
    "passage à actualiser|non neutre|incise|souverain2|souverain-|souverain|pays|terme défini|lnobr|formule|romains|"
    "nom en gras|date sport|siècle|"
    # Spanish, Italian, Portuguese, Dutch, Polish
    "cita requerida|citazione necessaria|carece de fontes|fakt|esd|versalita|versalitas|ta|tutto attaccato|"
    "senza fonte|chiarire|cn|maiuscoletto|carece de fontes2|esc|"
    "link|inter|j|zwrot|linkd|"
    # Russian, Ukrainian
    "ударение|comment|пп|тс|оq|подсказка|нет аи|достоверность|абс|ум|num|флагификация|dfn|термин|обращение|"
    "пиктограмма|сс|нет аи 2|уточнить|"
    # Japanese, Chinese, Korean
    "仮リンク|lang-ja-kanji|internal link helper|internal link helper/en|不改字|僞|僻字|要出典|要出典範囲|by|"
    "jis2004フォント|jis90フォント|補助漢字フォント|cjk拡張|拡張漢字|"
    # Arabic, Persian, Hebrew
    "حقيقة|بحاجة لمصدر|نص|مدرک|"
    "한국어|llang|임시링크"
)
_SECOND = (
    "lang|transl|transliteration|script|color|colour|font color|wikt-lang|langx|langue|langue2|lang2|sort|"
    "colored link|"
    "fontcolor|couleur|цвет|язык|citation étrangère|hidden sort key 2|nft|llink|tsl|noteTag|ins|coloredlink|"
    "trim quotes|legend|background color|rtl-lang"
)
POSITIONS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(_names(_FIRST), (1,)),
    **dict.fromkeys(_names(_SECOND), (2,)),
    **dict.fromkeys(("ship", "simplenuclide2", "nuclide2"), (1, 2)),
    **dict.fromkeys(("lsj",), (2,)),
    **dict.fromkeys(("oldstyledate", "old style date", "sortname", "nombre trié", "ordenar nombre"), (1, 2)),
    **dict.fromkeys(("uss", "hms", "ss", "rms", "mv", "hmas", "hmcs", "usns", "usat"), (1,)),
    **dict.fromkeys(("読み仮名", "ふりがな", "ruby", "ルビ"), (1,)),
}
# What is written before the text.
PREFIXES = {
    **dict.fromkeys(("circa", "c.", "ca.", "ca", "circa2"), "c. "), **dict.fromkeys(("floruit", "fl."), "fl. "),
    **dict.fromkeys(("reign", "r."), "r. "), **dict.fromkeys(("usd", "us$", "us dollar", "$us", "dollar"), "$"),
    "a$": "A$", "au$": "A$", "aud": "A$", "c$": "C$", "ca$": "C$", "cad": "C$", "nz$": "NZ$", "hk$": "HK$",
    "r$": "R$",
    **dict.fromkeys(("gbp", "£", "pound sterling"), "£"), **dict.fromkeys(("eur", "€", "euro"), "€"),
    **dict.fromkeys(("inr", "indian rupee", "₹"), "₹"), **dict.fromkeys(("jpy", "¥", "yen"), "¥"), "cny": "CN¥",
    "±": "±", "10^": "10^",
    **{f"{name}.": f"{name}. " for name in
       ("ang", "niem", "fr", "łac", "ros", "wł", "hiszp", "gr", "hebr", "jap", "chiń", "czes", "ukr")},
    **{name: f"in {name} " for name in ("inglese", "francese", "tedesco", "latino", "spagnolo", "greco")},
    "إنج": "بالإنجليزية: ", "فرن": "بالفرنسية: ", "به انگلیسی": "به انگلیسی: ",
    "אנגלית": "באנגלית: ", "ערבית": "בערבית: ", "רוסית": "ברוסית: ", "גרמנית": "בגרמנית: ", "צרפתית": "בצרפתית: ",
    "יוונית": "ביוונית: ", "לטינית": "בלטינית: ", "יידיש": "ביידיש: ",
    "chf": "CHF ", "sek": "kr ", "krw": "₩", "₩": "₩", "rub": "₽", "php": "₱", "brl": "R$", "zar": "R", "ils": "₪",
    "uss": "USS ", "hms": "HMS ", "ss": "SS ", "rms": "RMS ", "mv": "MV ", "hmas": "HMAS ", "hmcs": "HMCS ",
    "usns": "USNS ", "siglo": "siglo ", "séc": "século ", "séculos": "séculos ", "n°": "no ", "numéro": "numéro ",
    "p.": "p. ", "pp.": "pp. ", "vol.": "vol. ", "chap.": "chap. ", "av. j.-c.": "av. J.-C. ", "e": "×10^",
    "ens": "englisch ", "frs": "französisch ", "las": "lateinisch ", "its": "italienisch ", "ess": "spanisch ",
    "grcs": "altgriechisch ", "rus": "russisch ", "pls": "polnisch ", "jas": "japanisch ", "zhs": "chinesisch ",
}  # fmt: skip
SYMBOLS = {
    "ndash": "–", "mdash": "—", "spaced ndash": " – ", "snd": " – ", "spnd": " – ", "en dash": "–", "em dash": "—",
    "'": "'", "'s": "'s", "·": " · ", "•": " • ", "dot": " · ", "!": "|", "=": "=", "sp": " ", "nbsp": " ", "pi": "π",
    "times": "×", "shy": "", "zwsp": "", "mdashb": " — ", "snds": " – ", "spaces": " ", "' \"": "' \"", "-\"": "\"",
    "carbon": "C", "hydrogen": "H", "oxygen": "O", "eqm": "⇌", "pipe": "|", "–": " – ", "—": " — ", "bull": " • ",
    "yes": "Yes", "no": "No", "n/a": "N/A", "na": "N/A", "won": "Won", "nom": "Nominated", "unknown": "Unknown",
    "tba": "TBA", "tbd": "TBD", "partial": "Partial", "dunno": "?", "tick": "✓", "aye": "✓", "cross": "✗", "nay": "✗",
    "av jc": "av. J.-C.", "av. j.-c.": "av. J.-C.", "apr jc": "apr. J.-C.", "ap jc": "apr. J.-C.", "er": "er",
    "re": "re", "o": "o", "os": "os", "1er": "1er", "m.": "M.", "mme": "Mme", "mlle": "Mlle", "mm.": "MM.",
    "mgr": "Mgr", "dr": "Dr",
    "me": "Me", "pr": "Pr", "nº": "nº", "n°": "no", "bce": "BCE", "ce": "CE", "bc": "BC", "ad": "AD", "a.c.": "a. C.",
    "d.c.": "d. C.", "till": "till ", "'-": "'", "okina": "ʻ", "ayin": "ʽ", "hamza": "ʼ", "degree": "°", "=)": "=",
    "(": "{", ")": "}", "((": "{{", "))": "}}", "!!": "||", "cdot": "·", "minus": "−", "sqrt": "√", "euro": "€",
    "0": "", "thinsp": " ", "e": "e", "ème": "e", "нет": "Нет", "да": "Да",
}  # fmt: skip
# A number and its unit, whatever stands before it in a list of a language's templates.
MEASURES = frozenset(_names(
    "convert|cvt|convert/2|unité|unite|unité/2|unidad|unidade|fmtn|m|converti|convertir|converter|conversion|"
    "nb|nombre|num|"
    "число|формат числа|val|formatnum|nts|ntsh|number|quantité|tmp|température|temperatur|monnaie|currency|zahl|"
    "getal|ntsc|gaps|decimal cell|digits|rnd|formatprice|hauteur|dunité|peso|masse|longueur|mesure|maß|"
    "обхват|convertit|liczba"
))  # fmt: skip
RANGES = {
    "-": "–", "–": "–", "to": " to ", "to about": " to about ", "and": " and ", "by": " by ", "x": " × ", "×": " × ",
    "xx": " × ", "*": " × ", "or": " or ", "+": " + ", "+/-": " ± ", "±": " ± ", "to(-)": " to ", "-bis": "–",
    "à": " à ", "et": " et ", "bis": " bis ", "und": " und ", "a": " a ", "y": " y ", "e": " e ", "tot": " tot ",
    "до": " до ", "/": "/", ",": ", ", "&": " & ", "plus": " + ", "minus": " − ", "through": " through ",
}  # fmt: skip
UNITS = {
    "c": "°C", "f": "°F", "k": "K", "°c": "°C", "°f": "°F", "sqmi": "sq mi", "sqkm": "km²", "km2": "km²", "m2": "m²",
    "cm2": "cm²", "mm2": "mm²", "sqft": "sq ft", "sqin": "sq in", "sqyd": "sq yd", "sqm": "m²", "m3": "m³",
    "km3": "km³",
    "cm3": "cm³", "mm3": "mm³", "dm3": "dm³", "cuft": "cu ft", "cuin": "cu in", "cuyd": "cu yd", "cumi": "cu mi",
    "cc": "cc", "kph": "km/h", "kmph": "km/h", "km/h": "km/h", "u.s.gal": "US gal", "usgal": "US gal",
    "impgal": "imp gal", "impoz": "imp oz", "usoz": "US oz", "foot": "ft", "feet": "ft", "inch": "in", "inches": "in",
    "mile": "mi", "miles": "mi", "metre": "m", "meter": "m", "kilometre": "km", "hp": "hp", "bhp": "bhp", "lbs": "lb",
    "pound": "lb", "oz": "oz", "tonne": "t", "lt": "long tons", "st": "short tons", "ha": "ha", "acre": "acres",
    "nmi": "nmi", "kn": "kn", "knot": "kn", "m/s": "m/s", "m/s2": "m/s²", "kg/m3": "kg/m³", "g/cm3": "g/cm³",
    "/km2": "/km²", "pd/sqkm": "/km²", "pd/sqmi": "/sq mi", "micron": "μm", "um": "μm", "degc": "°C", "degf": "°F",
}  # fmt: skip
QUOTES = frozenset(_names(
    "quote|blockquote|bquote|cquote|quotation|quote box|quote frame|rquote|pull quote|block quote|poem quote|"
    "poemquote|"
    "zitat|zitat-en|zitat-fr|zitat-la|zitat-it|zitat-es|\"|cita|citazione|citação|citação2|цитата|цитата2|"
    "cytat|cytat2|"
    "citaat|citat|citation bloc|citation|début citation|verse translation|quotation box|sitaatti|idézet|"
    "citat2|引用|引文|"
    "bloque de cita|cita2|ביטטה|ציטוט|alıntı|alinti|kutipan|lời trích|인용문|quote1|centered pull quote|"
    "epigraf|эпиграф|اقتباس|اقتباس مضمن|ציטוטון"
))  # fmt: skip
LISTS = frozenset(_names(
    "hlist|ubl|unbulleted list|bulleted list|ordered list|cslist|comma separated entries|pagelist|hlist-comma|"
    "liste horizontale|lista horizontal|collapsible list|plain list|flat list|liste simple|unbulleted|ublist|"
    "br separated entries|enum|columns-list|sequence|indented plainlist|liste à puces|columns list|lista desplegable"
))  # fmt: skip
FRACTIONS = frozenset(_names("frac|fraction|sfrac|bruch|fracción|дробь|ułamek|breuk|bråk|simple fraction|分数"))
DATES = frozenset(_names(
    "date|birth date|birth-date|birth date and age|bda|dob|death date|death date and age|dda|start date|end date|"
    "start date and age|film date|dts|date table sorting|release date|launch date|opening date|date de naissance|"
    "date de décès|date-|fecha|fecha de nacimiento|fecha de fallecimiento|dtext|data|dni|dnibr|morte|"
    "nascimento|datum|"
    "дата|дата рождения|дата смерти|geboortedatum|datum en leeftijd|eventstart|bd|生年月日と年齢|死亡年月日と没年齢|"
    "date de naissance-|date sport|event date|end-date|start-date|isodate|start date text|published date|birth date2"
))  # fmt: skip
HATNOTES = frozenset(_names(
    "main|main article|see also|further|further information|about|for|other uses|other people|redirect|distinguish|"
    "details|hauptartikel|siehe auch|begriffsklärungshinweis|dieser artikel|article détaillé|voir aussi|"
    "autres|voir homonymes|"
    "voir homonyme|confusion|artículo principal|véase también|otros usos|ap|vt|vedi anche|nota disambigua|"
    "artigo principal|"
    "ver também|hoofdartikel|zie hoofdartikel|zie dp|osobny artykuł|zobacz też|main2|см. также|основная "
    "статья|другие значения|"
    "главная статья|huvudartikel|se även|see|broader|redirect2|redirect-distinguish|other ships|for-text|"
    "hatnote|rellink|"
    "articles détaillés|loupe|otheruses|主条目|see also2|more citations needed|redr|other places|"
    "redirect-multi|main list"
))  # fmt: skip
