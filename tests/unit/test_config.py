"""A setting that cannot be meant stops the start with a sentence that names it, what was found and what is legal."""

from __future__ import annotations

import pytest

from server.config import ConfigError, Settings, describe, from_env


def test_settings_not_given_have_their_defaults() -> None:
    assert from_env({"PATH": "/bin"}) == Settings()


def test_an_empty_value_stands_for_none() -> None:
    settings = from_env({"OCK_POLICY": "", "OCK_API_KEYS": "", "OCK_PORT": "", "OCK_HOST": "", "OCK_SYSTEM_PROMPT": ""})
    assert settings == Settings()
    assert settings.policy is None


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OCK_PORT", "http", "OCK_PORT='http': .*integer"),
        ("OCK_PORT", "70000", "OCK_PORT='70000': .*65535"),
        ("OCK_RUN_DIR", "/tmp/" + "x" * 100, "OCK_RUN_DIR=.*legal are paths of at most 88 bytes"),
        ("OCK_DTYPE", "fp8", "OCK_DTYPE='fp8': .*'float16', 'bfloat16', 'float32', 'int8' or 'int4'"),
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


def test_what_kubernetes_makes_of_a_service_called_ock_is_passed_over() -> None:
    service = {
        "OCK_SERVICE_HOST": "10.0.0.1",
        "OCK_SERVICE_PORT": "8080",
        "OCK_SERVICE_PORT_HTTP": "8080",
        "OCK_PORT": "tcp://10.0.0.1:8080",
        "OCK_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "OCK_PORT_8080_TCP_PROTO": "tcp",
        "OCK_PORT_8080_TCP_ADDR": "10.0.0.1",
        "OCK_CHAT_PORT": "udp://10.0.0.2:53",
        "OCK_CHAT_PORT_8080_TCP_ADDR": "10.0.0.2",
    }
    assert from_env({**service, "OCK_MAX_RUNNING": "3"}) == Settings(max_running=3)


@pytest.mark.parametrize(
    ("name", "value"), [("OCK_CHAT_PORT", "8080"), ("OCK_SERVICES_HOST", "x"), ("OCK_PORT", "//10.0.0.1")]
)
def test_what_only_looks_like_it_is_refused_as_before(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        from_env({name: value})


SECRET = "hunter2"


@pytest.mark.parametrize(
    "address",
    [
        "https://user:{}@host/search?q={{query}}",
        "https://{}@host/",
        "https://host/?q={{query}}&api_key={}",
        "https://host/?X-Amz-Signature={}&q=1",
        "https://host/?access_token={}#top",
    ],
)
def test_secrets_in_an_address_are_masked_wherever_it_is_printed(address: str) -> None:
    told = describe(Settings(web_search_url=address.format(SECRET)))
    assert SECRET not in told
    assert "https://" in told
    assert "host/" in told
    with pytest.raises(ConfigError) as error:
        from_env({"OCK_STORE": address.format(SECRET)})
    assert SECRET not in str(error.value)


def test_a_placeholder_is_no_secret() -> None:
    assert "key={key}" in describe(Settings(web_search_url="https://host/?q={query}&key={key}"))


def test_a_step_has_room_for_every_running_reply_and_a_prompt() -> None:
    assert from_env({}).step_tokens == 512
    assert from_env({"OCK_MAX_RUNNING": "1024"}).step_tokens == 1040
