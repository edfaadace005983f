"""What a text really says: visible characters, folding, look-alikes, words for emoji, neutralised tags."""
