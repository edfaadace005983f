"""Every number that keeps one client from taking the server, in one place. What an operator may change is a setting."""

from __future__ import annotations

# What one request may hold. Its size in bytes is OCK_MAX_BODY_BYTES.
MAX_JSON_DEPTH = 32  # objects and arrays within each other
MAX_JSON_CONTAINERS = 50_000  # objects and arrays in one body; text may hold as many brackets as it likes
MAX_INPUTS = 128  # questions in one list
MAX_QUESTION_CHARS = 262_144  # of a question, or of a text that is to be completed
MAX_MESSAGES = 4096  # of one conversation
MAX_MESSAGE_PARTS = 256  # of one message, and as many tool calls
MAX_CONVERSATION_CHARS = 2_097_152  # of all messages together; the oldest are left out of the prompt
MAX_STOP_STRINGS = 64  # that end a reply
MAX_STOP_CHARS = 256  # of one of them
MAX_SCHEMA_CHARS = 65_536  # of the schema that a reply must keep to, as JSON
MAX_NAME_CHARS = 256  # of a model, a message's author, a schema, an earlier answer
MAX_METADATA = 16  # pairs; they change nothing
MAX_METADATA_CHARS = 512  # of one value
MAX_REQUEST_ID_CHARS = 64  # of a call that is to be cancelled
MAX_CANCEL_BYTES = 4096  # of a cancel to /invocations, so that it is answered also where all places are taken
LEAST_KEY_CHARS = 16  # of an idempotency key, which must not be guessed
MAX_KEY_CHARS = 255  # of the same
MAX_SEARCH_CHARS = 4096  # of a search that is no question of a turn
MAX_SEARCH_K = 100  # passages
MAX_SEARCH_WINDOW = 50  # neighbours on each side of a passage
MAX_SEARCH_ROWS = 2020  # of the index that one search may look at: its passages with their neighbours
MAX_CHOICES = 16  # replies to one prompt
MAX_LOGIT_BIASES = 1024  # tokens
MAX_FILTER_VALUES = 64  # of one field of a filter
MAX_FILTER_CHARS = 1024  # of one value
MAX_PROMPTS = 128  # of one completion call
MAX_EMBEDDING_TEXTS = 2048  # of one call
MAX_EMBEDDING_CHARS = 1_048_576  # of all texts of a call together
MAX_MODERATION_TEXTS = 128  # of one call
MAX_MODERATION_CHARS = 262_144  # of all texts of a call together

# What a file of API keys may hold that is copied from S3.
MAX_KEY_FILE_BYTES = 1_048_576  # some thousands of keys

# What one answer or conversation may hold.
MAX_FEEDBACK_CHARS = 4000  # that a reader writes of a reply
MAX_SYSTEM_CHARS = 16_384  # of instructions that a session carries
MAX_HISTORY_TURNS = 1000  # of a conversation in one answer
MAX_HISTORY_BYTES = 4_000_000  # of them; SageMaker passes on no more than some megabytes
MAX_LISTED_SESSIONS = 100  # of a key's owner, in one answer
MAX_LIST_WORDS_CHARS = 200  # of the words that one's conversations are searched for
MAX_SEARCHED_TURNS = 2000  # about; of conversations that one call looks through

# How a request may come in. One thread reads heads and bodies of all clients, before any other has to do with them.
LONGEST_HEAD_S = 10.0  # for the whole head of a request, however its bytes are spread
LEAST_BODY_BYTES_S = 16_384  # a body has as long again, and a second more for so many bytes that have come
MAX_HEAD_BYTES = 65_536  # gunicorn takes fewer still: 8190 a field, 4094 of the first line, 100 fields
MAX_CHUNKS = 65_536  # of a body whose length is not announced
MAX_CHUNK_LINE_BYTES = 4096  # that say how large a chunk is
MAX_RECEIVED_BYTES = 268_435_456  # of all requests on their way in or at work; the slowest then makes room
MAX_DROPPED_BYTES = 8_388_608  # that a client may still send after a refusal, so that it reads why
LONGEST_CLOSING_S = 2.0  # for a client to close when it was answered

# How it is read then.
BODY_READ_AHEAD_BYTES = 2048  # beyond the limit of a body, to know that there is more
HEAD_PIECE_BYTES = 8192  # that are parsed at once

# How long a thread waits for a client to take its answer.
LONGEST_WAIT_S = 30.0  # for one write of a stream, not for the whole answer
# Of answers whose length is known, which no thread waits for; a client has the same time, and a second more for so many
# bytes as a body has. Beyond that a thread waits.
MAX_UNSENT_BYTES = 67_108_864

# How many may be at work. The number of threads is OCK_THREADS; some always stay free for /ping and for refusals.
SPARE_THREADS = 8  # for refusals
SHARED_PLACES = 4  # the last one in so many places is for callers that have less than their share
WANTED_FOR_S = 5.0  # after a refusal a caller counts among those that share
SIDE_SHARE = 4  # one in so many places, at most, is taken by each of /search, /v1/embeddings and /v1/moderations
LEAST_SIDE_PLACES = 4  # of each of these
LIST_THREADS = 16  # that answer the questions of lists
# Moderation calls that are judged at once. The moderator sends a few texts of each at a time, so that whatever is asked
# there, most places in the engine's queue are left to questions and replies.
MODERATION_CALLS = 3
MODERATION_WAIT_S = 10.0

# When a client that was refused may try again.
RETRY_AFTER_S = 2.0
MODERATION_RETRY_AFTER_S = 5.0
