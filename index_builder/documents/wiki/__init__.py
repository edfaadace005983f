"""Wikis: dumps of MediaWiki as articles."""
