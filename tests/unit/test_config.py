"""A setting that cannot be meant stops the start with a sentence that names it, what was found and what is legal."""

from __future__ import annotations

import pytest

from server.config import ConfigError, Settings, from_env


def test_settings_not_given_have_their_defaults() -> None:
    assert from_env({"PATH": "/bin"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OCK_PORT", "http", "OCK_PORT='http': .*integer"),
        ("OCK_PORT", "70000", "OCK_PORT='70000': .*65535"),
        ("OCK_DTYPE", "fp8", "OCK_DTYPE='fp8': .*'float16', 'bfloat16', 'float32' or 'int8'"),
        ("OCK_STORE", "redis://x", "OCK_STORE='redis://x': legal are sqlite:///path, dynamodb://table and memory://"),
        ("OCK_SESSION_TTL_S", "inf", "OCK_SESSION_TTL_S='inf': .*finite"),
        ("OCK_REQUEST_DEADLINE_S", "nan", "OCK_REQUEST_DEADLINE_S='nan': .*finite"),
        ("OCK_STREAM_DEADLINE_S", "1e13", "OCK_STREAM_DEADLINE_S='1e13': .*86400"),
        ("OCK_SESSION_LOCK_S", "450", "OCK_SESSION_LOCK_S=450: legal is more than the longest deadline, 450"),
        ("OCK_MAX_CONTEXT_TOKENS", "10", "OCK_MAX_CONTEXT_TOKENS='10': legal are 0, .* and 64 or more"),
        ("OCK_REQUIRE_SESSION", "perhaps", "OCK_REQUIRE_SESSION='perhaps'"),
        ("OCK_KERNELS", "cuda", "OCK_KERNELS='cuda': Input should be 'auto' or 'torch'"),
        ("OCK_OVERLAP", "yes", "OCK_OVERLAP='yes': Input should be 'auto', 'on' or 'off'"),
        ("OCK_PROT", "8080", "OCK_PROT is not a setting; did you mean OCK_PORT"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_legal(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_env({name: value})
