"""The headings of what follows an article: references, links, literature, in the largest languages of Wikipedia."""

from __future__ import annotations

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


def is_appendix(heading: str) -> bool:
    """Whether what stands under this heading is no part of the article's text."""
    return heading.strip().rstrip(":").casefold() in _FOLDED


_FOLDED = frozenset(name.casefold() for name in APPENDICES)
