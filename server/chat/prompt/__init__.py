"""From a conversation to token ids that fit the window."""
