"""Closed word classes of English that the data generators share, and verbs with their base forms."""

from __future__ import annotations

import re

PRONOUNS = frozenset("he she it they this these there that those we you i one".split())

FUNCTION_WORDS = PRONOUNS | frozenset(
    """a an the of in on at by for from with to into as and or but nor so than then if is was are were be been being do
    does did has have had will would can could may might must shall should not no its his her their our your my who whom
    which what when where why how such some many most all several other both each however although while since during
    after before because about over under between through also only very more less much any there here same own up out
    tell me know describe explain something happened said""".split()
)

# Irregular and frequent forms; regular ones are derived by `base_form`.
_IRREGULAR = dict(
    pair.split(":")
    for pair in """has:have had:have became:become won:win wrote:write made:make led:lead began:begin gave:give took:take
    held:hold built:build bought:buy sold:sell left:leave lost:lose found:find met:meet ran:run said:say saw:see sent:send
    spent:spend taught:teach thought:think told:tell went:go wore:wear drew:draw fell:fall flew:fly fought:fight grew:grow
    knew:know lay:lie lies:lie dies:die paid:pay rose:rise sang:sing shot:shoot spoke:speak stood:stand died:die
    lived:live moved:move used:use produced:produce received:receive described:describe introduced:introduce argued:argue
    believed:believe created:create included:include required:require caused:cause served:serve provided:provide
    divided:divide published:publish studied:study married:marry tried:try carried:carry studies:study carries:carry
    refers:refer referred:refer occurred:occur planned:plan uses:use makes:make gives:give takes:take comes:come came:come
    includes:include produces:produce describes:describe provides:provide causes:cause requires:require becomes:become
    involves:involve involved:involve receives:receive arrived:arrive arrives:arrive continued:continue
    continues:continue composed:compose proposed:propose closed:close changed:change changes:change
    organized:organize released:release increased:increase increases:increase reduced:reduce replaced:replace
    achieved:achieve declared:declare retired:retire invited:invite united:unite contributed:contribute
    refused:refuse raised:raise forced:force shared:share shares:share noted:note""".split()
)

_REGULAR = frozenset(
    """contain play study discover join visit happen belong start end open border export own paint design lie follow
    represent allow mean appear work sign support reject call remain cover eat form consist develop claim want refer
    invent found record perform appoint elect attack defeat conquer explore establish return travel show explain present
    publish need help turn enter suggest feature kill capture order gain earn learn accept adopt attend depend exist""".split()
)


def base_form(verb: str) -> str | None:
    """The base form of a finite verb the generators know, or None for any other word."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    for ending in ("ed", "es", "s"):
        if verb.endswith(ending) and verb[: -len(ending)] in _REGULAR:
            return verb[: -len(ending)]
    return None


def content_words(text: str) -> set[str]:
    """Lower-cased words that are not function words."""
    return set(re.findall(r"[^\W_]+", text.lower())) - FUNCTION_WORDS
