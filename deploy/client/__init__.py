"""A client for the server, at a URL (the standard library is enough) or behind a SageMaker endpoint (with boto3)."""

from deploy.client.chat_client import ChatClient
from deploy.client.chat_error import ChatError
from deploy.client.reply import Reply, Source, Usage, Verdict
from deploy.client.reply_stream import ReplyStream
from deploy.client.retry import RetryPolicy

__all__ = ["ChatClient", "ChatError", "Reply", "ReplyStream", "RetryPolicy", "Source", "Usage", "Verdict"]
