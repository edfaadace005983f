"""Every number that keeps one client from taking the server, in one place. What an operator may change is a setting."""

from __future__ import annotations

# What one request may hold. Its size in bytes is OCK_MAX_BODY_BYTES.
MAX_JSON_DEPTH = 32
MAX_JSON_CONTAINERS = 50_000  # objects and arrays in one body; text may hold as many brackets as it likes
MAX_INPUTS = 128  # questions in one list
MAX_STOP_STRINGS = 64
MAX_CHOICES = 16  # replies to one prompt
MAX_LOGIT_BIASES = 1024
MAX_FILTER_VALUES = 64  # of one field of a filter
MAX_FILTER_CHARS = 1024
MAX_PROMPTS = 128  # of one completion call
MAX_EMBEDDING_TEXTS = 2048
MAX_EMBEDDING_CHARS = 1_048_576  # of all texts of a call together
MAX_MODERATION_TEXTS = 128
MAX_MODERATION_CHARS = 262_144  # of all texts of a call together

# What one answer may hold.
MAX_FEEDBACK_CHARS = 4000
MAX_SYSTEM_CHARS = 16_384  # instructions that a session carries
MAX_HISTORY_TURNS = 1000
MAX_HISTORY_BYTES = 4_000_000  # SageMaker passes on no more than some megabytes

# How a request may come in. One thread reads heads and bodies of all clients, before any other has to do with them.
LONGEST_HEAD_S = 10.0  # for the whole head of a request, however its bytes are spread
LEAST_BODY_BYTES_S = 16_384  # a body has as long again, and a second more for so many bytes that have come
MAX_HEAD_BYTES = 65_536
MAX_CHUNKS = 65_536  # of a body whose length is not announced
MAX_CHUNK_LINE_BYTES = 4096  # that say how large a chunk is
MAX_RECEIVED_BYTES = 268_435_456  # of all requests on their way in or at work; the slowest then makes room
MAX_DROPPED_BYTES = 8_388_608  # that a client may still send after a refusal, so that it reads why
LONGEST_CLOSING_S = 2.0  # for a client to close when it was answered

# How it is read then.
BODY_READ_AHEAD_BYTES = 2048  # beyond the limit of a body, to know that there is more
HEAD_PIECE_BYTES = 8192

# How long a thread waits for a client to take its answer.
LONGEST_WAIT_S = 30.0  # for one write, not for the whole answer

# How many may be at work. The number of threads is OCK_THREADS; some always stay free for /ping and for refusals.
SPARE_THREADS = 8
LIST_THREADS = 16  # that answer the questions of lists
# Moderation calls that are judged at once. The moderator sends a few texts of each at a time, so that whatever is asked
# there, most places in the engine's queue are left to questions and replies.
MODERATION_CALLS = 3
MODERATION_WAIT_S = 10.0

# When a client that was refused may try again.
RETRY_AFTER_S = 2.0
MODERATION_RETRY_AFTER_S = 5.0
