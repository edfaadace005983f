"""From logits to the tokens and the text of a reply."""
