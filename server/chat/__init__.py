"""One turn, from a question to a moderated, sourced and stored answer."""
