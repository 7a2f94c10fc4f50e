"""Chat templates: right prompts, and no way to hold up or fill the process that renders them."""

import sys
import time

import pytest

if sys.platform == "linux":
    import resource

from gogrid.protocol.job_messages import FailCode
from gogrid.protocol.tasks import ChatMessage
from runner.errors import JobError
from runner.executor.engines.template import ChatTemplate

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HELLO = (ChatMessage(role="user", content="hello"),)


def rendered(source: str, *messages: ChatMessage, **tokens: str) -> str:
    return ChatTemplate(source, tokens).render(messages or HELLO)


def refusal(source: str, deadline_s: float = 0.3) -> JobError:
    with pytest.raises(JobError) as caught:
        ChatTemplate(source, {}, deadline_s).render(HELLO)
    assert caught.value.code is FailCode.BAD_REQUEST
    assert caught.value.param == "messages"
    assert "\n" not in str(caught.value)
    return caught.value


def test_messages_come_out_in_order_with_a_place_to_answer() -> None:
    said = (ChatMessage(role="developer", content="be brief"), *HELLO)
    expected = "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert rendered(CHATML, *said) == expected


def test_what_model_templates_use_is_there() -> None:
    source = (
        "{{ bos_token }}{% generation %}{{ messages|tojson }}{% endgeneration %}"
        "{% for m in messages %}{% if loop.index0 % 2 == 0 %}{% continue %}{% endif %}{% endfor %}"
        "{{ strftime_now('%Y')|length }}"
    )
    assert rendered(source, bos_token="<s>") == '<s>[{"role": "user", "content": "hello"}]4'


def test_system_message_that_a_template_refuses_is_told_by_the_user() -> None:
    source = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ messages[0].content }}"
    assert rendered(source, ChatMessage(role="system", content="be brief"), *HELLO) == "be brief\n\nhello"


def test_refusal_of_a_template_is_one_line() -> None:
    assert "roles must alternate" in str(refusal("{{ raise_exception('roles must\nalternate') }}".replace("\n", " ")))
    assert "not valid" in str(refusal("{% for %}"))
    assert "undefined" in str(refusal("{{ nothing.at.all }}"))


@pytest.mark.parametrize(
    "bomb",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ messages[0].content }}{% endfor %}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{{ 'x' * 10**12 }}",
        "{{ 'x' * 4000000 * 4000000 }}",
        "{{ 9**9**9**9 }}",
        "{{ '%0999999999d' % 1 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ range(10**9)|list }}",
        "{{ 'x' * 4194304 }}{{ 'x' * 4194304 }}",
        "{{ 'x'.center(10 ** 9) }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ ('x' * 4000000)|replace('x', 'y' * 4000000) }}",
        "{{ [1]|batch(10 ** 9, 'x')|list }}",
        "{{ 'x'|center(999999999) }}",
        "{{ '%999999999d'|format(1) }}",
    ],
)
def test_template_bomb_is_refused_within_two_seconds(bomb: str) -> None:
    start = time.monotonic()
    refusal(bomb)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    "escape",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ raise_exception.__globals__.json }}",
        "{{ strftime_now.__globals__['os'].system('true') }}",
        "{{ ('{0.__class__}').format(messages) }}{{ raise_exception('harmless') }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{{ self._TemplateReference__context.environment }}{{ raise_exception('harmless') }}",
    ],
)
def test_template_cannot_leave_the_sandbox(escape: str) -> None:
    refusal(escape)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits an address space")
def test_memory_that_one_operation_may_take_is_bounded_and_as_before_afterwards() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert "MemoryError" in str(refusal("{{ 'x'.center(300 * 10 ** 6)|length }}", deadline_s=60.0))
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    compiled = refusal("{{ 'x'|center(300000000)|length }}", deadline_s=60.0)
    assert "MemoryError" in str(compiled), "constants, while it compiles"
    assert rendered("{{ 'x'.center(10 ** 6)|length }}") == "1000000"


def test_too_long_template_is_refused() -> None:
    assert "65536" in str(refusal("x" * 65537))


def test_tracing_is_as_it_was_afterwards() -> None:
    before = sys.gettrace()
    rendered(CHATML)
    refusal("{{ nothing.at.all }}")
    assert sys.gettrace() is before
