"""A wiki as its dump's header and its languages describe it: which links lead to pictures, to categories and to other
languages, which headings stand above what follows an article, and which templates carry text, where in their arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_FILES = (
    "file image media datei bild fichier archivo imagen immagine ficheiro imagem bestand afbeelding plik "
    "grafika файл "
    "изображение зображення fil tiedosto kuva soubor fájl kép fișier imagine dosya resim fitxer imatge "
    "berkas gambar ファイル "
    "画像 檔案 文件 图像 图片 圖像 圖片 파일 그림 ملف صورة پرونده קובץ תמונה датотека слика εικόνα αρχείο "
    "चित्र dosiero súbor fail"
)
_CATEGORIES = (
    "category kategorie catégorie categoría categoria categorie kategoria категория категорія kategori "
    "kategória luokka "
    "カテゴリ 分类 分類 분류 تصنيف رده קטגוריה категорија κατηγορία श्रेणी kategorio kategorija"
)
_LANGUAGES = (
    "aa ab ace ady af ak als alt am ami an ang ann anp ar arc ary arz as ast atj av avk awa ay az azb ba ban "
    "bar bat-smg "
    "bbc bcl bdr be be-tarask be-x-old bew bg bh bi bjn blk bm bn bo bpy br bs btm bug bxr ca cbk-zam cdo ce "
    "ceb ch cho "
    "chr chy ckb co cr crh cs csb cu cv cy da dag de dga din diq dsb dtp dty dv dz ee el eml en eo es et eu "
    "ext fa fat ff "
    "fi fiu-vro fj fo fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe gsw gu guc gur guw "
    "gv ha hak haw "
    "he hi hif ho hr hsb ht hu hy hyw hz ia iba id ie ig igl ii ik ilo inh io is it iu ja jam jbo jv ka kaa "
    "kab kbd kbp "
    "kcg kg kge ki kj kk kl km kn knc ko koi kr krc ks ksh ku kus kv kw ky la lad lb lbe lez lfn lg li lij "
    "lld lmo ln lo "
    "lrc lt ltg lv lzh mad mai map-bms mdf mg mh mhr mi min mk ml mn mni mnw mo mos mr mrj ms mt mus mwl my "
    "myv mzn na nah "
    "nan nap nb nds nds-nl ne new ng nia nl nn no nov nqo nr nrm nso nup nv ny oc olo om or os pa pag pam "
    "pap pcd pcm pdc "
    "pdt pfl pi pih pl pms pnb pnt ps pt pwn qu rm rmy rn ro roa-rup roa-tara ru rue rup rw sa sah sat sc "
    "scn sco sd se "
    "sg sgs sh shi shn shy si simple sk skr sl sm smn sn so sq sr srn ss st stq su sv sw syl szl szy ta tay "
    "tcy tdd te "
    "tet tg th ti tig tk tl tly tn to tpi tr trv ts tt tum tw ty tyv udm ug uk ur uz ve vec vep vi vls vo "
    "vro wa war wo "
    "wuu xal xh xmf yi yo yue za zea zgh zh zh-classical zh-min-nan zh-yue zu"
)
_FILE_NAMES = frozenset(_FILES.split()) | {"tập tin", "hình"}
_CATEGORY_NAMES = frozenset(_CATEGORIES.split()) | {"thể loại"}
_LANGUAGE_CODES = frozenset(_LANGUAGES.split())
_FILE_KEYS, _CATEGORY_KEY = (6, -2), 14
_APPENDICES = (
    # English
    "see also|references|external links|further reading|notes|footnotes|citations|bibliography|sources|notes and "
    "references|references and notes|works cited|literature|general references|primary sources|secondary sources|"
    "endnotes|citations and notes|footnotes and references|references and footnotes|explanatory notes|gallery|"
    "selected bibliography|external resources|notes and citations|footnotes and citations|"
    # German
    "siehe auch|einzelnachweise|weblinks|literatur|quellen|anmerkungen|fußnoten|belege|nachweise|anmerkungen und "
    "einzelnachweise|quellen und literatur|literatur und quellen|galerie|weiterführende literatur|externe links|"
    # French
    "voir aussi|références|notes et références|liens externes|articles connexes|bibliographie|annexes|notes|sources|"
    "lien externe|article connexe|pour approfondir|références et notes|notes, sources et références|galerie|"
    # Spanish
    "véase también|referencias|enlaces externos|notas|bibliografía|notas y referencias|fuentes|lecturas adicionales|"
    "referencias y notas|galería|"
    # Italian
    "note|bibliografia|voci correlate|altri progetti|collegamenti esterni|fonti|note al testo|galleria d'immagini|"
    # Portuguese
    "ver também|referências|ligações externas|notas e referências|leitura adicional|galeria|"
    # Dutch
    "zie ook|referenties|externe links|externe link|bronnen|bronnen, noten en/of referenties|noten|voetnoten|"
    "literatuur|bronvermelding|galerij|"
    # Polish
    "zobacz też|przypisy|linki zewnętrzne|uwagi|źródła|"
    # Russian
    "см. также|примечания|ссылки|литература|источники|комментарии|сноски|галерея|"
    # Ukrainian
    "див. також|примітки|посилання|література|джерела|виноски|галерея|"
    # Swedish
    "se även|referenser|externa länkar|källor|noter|fotnoter|vidare läsning|"
    # Norwegian, Danish
    "se også|referanser|eksterne lenker|kilder|fotnoter|litteratur|referencer|eksterne henvisninger|noter|galleri|"
    # Finnish
    "katso myös|lähteet|aiheesta muualla|viitteet|kirjallisuutta|kirjallisuus|"
    # Czech, Slovak
    "reference|související články|externí odkazy|poznámky|zdroje|referencie|externé odkazy|pozri aj|"
    # Hungarian
    "lásd még|források|jegyzetek|további információk|kapcsolódó szócikkek|irodalom|"
    # Romanian
    "vezi și|note|legături externe|bibliografie|note și referințe|lectură suplimentară|"
    # Turkish
    "ayrıca bakınız|kaynakça|dış bağlantılar|notlar|kaynaklar|konuyla ilgili yayınlar|"
    # Catalan
    "vegeu també|referències|enllaços externs|bibliografia complementària|notes i referències|"
    # Vietnamese, Indonesian
    "xem thêm|tham khảo|liên kết ngoài|chú thích|ghi chú|nguồn|lihat pula|lihat juga|referensi|pranala luar|"
    "catatan|daftar pustaka|bacaan lanjutan|catatan kaki|"
    # Japanese, Chinese, Korean
    "脚注|参考文献|関連項目|外部リンク|出典|注釈|注釈・出典|脚注・出典|関連文献|参照|参考资料|參考資料|参考文献|參考文獻|"
    "外部链接|外部連結|外部連接|参见|參見|参看|注释|註釋|注解|註解|相关条目|相關條目|延伸阅读|延伸閱讀|參考|脚注|腳註|"
    "같이 보기|각주|참고 문헌|외부 링크|출처|주석|참고 자료|내용주|"
    # Arabic, Persian, Hebrew
    "انظر أيضا|انظر أيضًا|مراجع|وصلات خارجية|المراجع|المصادر|ملاحظات|مصادر|روابط خارجية|هوامش|"
    "جستارهای وابسته|منابع|پانویس|پیوند به بیرون|یادداشت‌ها|"
    "ראו גם|קישורים חיצוניים|הערות שוליים|לקריאה נוספת|ביאורים|"
    # Esperanto, Serbian, Bulgarian, Greek, Hindi
    "vidu ankaŭ|referencoj|eksteraj ligiloj|notoj|види још|референце|спољашње везе|извори|вижте също|източници|"
    "външни препратки|бележки|δείτε επίσης|παραπομπές|εξωτερικοί σύνδεσμοι|πηγές|σημειώσεις|"
    "इन्हें भी देखें|सन्दर्भ|संदर्भ|बाहरी कड़ियाँ"
)
APPENDICES = frozenset(_APPENDICES.split("|"))


@dataclass(frozen=True)
class Site:
    """One wiki.

    Attributes:
        base_url: what the address of an article begins with.
        files: names, in lower case, of the namespaces whose links show pictures; of all languages and its own.
        categories: names of those whose links show nothing.
    """

    base_url: str = ""
    files: frozenset[str] = field(default=_FILE_NAMES)
    categories: frozenset[str] = field(default=_CATEGORY_NAMES)

    @classmethod
    def of(cls, base_url: str, namespaces: dict[int, str]) -> Site:
        """The wiki whose dump's header names these namespaces, by their keys."""
        files = {namespaces[key].lower() for key in _FILE_KEYS if namespaces.get(key)}
        category = namespaces.get(_CATEGORY_KEY, "").lower()
        return cls(base_url, _FILE_NAMES | files, _CATEGORY_NAMES | ({category} if category else set()))


UNKNOWN_SITE = Site()


def link_text(inner: str, site: Site) -> tuple[str, str]:
    """What a reader sees of `[[inner]]`, whose own markup is plain text already; and how it is counted when it is left
    out, "" when nothing of the text is.
    """
    target, bar, label = inner.partition("|")
    target = target.strip()
    if target.startswith(":"):
        return label or target.removeprefix(":"), ""
    prefix, colon, _ = target.partition(":")
    namespace = prefix.strip().replace("_", " ").lower() if colon else ""
    if namespace == "media":
        return label or target, ""
    if namespace in site.files:
        return "", "image"
    if namespace in site.categories or namespace in _LANGUAGE_CODES:
        return "", ""
    if bar and not label:  # the pipe trick: what stands before brackets or a comma
        return target.partition(":")[2].partition(" (")[0].partition(",")[0] or target, ""
    return label or target, ""


def is_appendix(heading: str) -> bool:
    """Whether what stands under this heading is no part of the article's text."""
    return heading.strip().rstrip(":").casefold() in _FOLDED


_FOLDED = frozenset(name.casefold() for name in APPENDICES)


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
