"""What a turn leaves behind: records, session ids, the version of the models."""
