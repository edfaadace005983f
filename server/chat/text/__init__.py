"""What a text really says: visible characters, folding, look-alikes, neutralised tags."""
