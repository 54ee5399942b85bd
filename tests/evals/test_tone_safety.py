"""What is told of an answer without asking anybody: its language, its tone, refusals, offence, personal data."""

from typing import Any

import pytest

from loopwright.core.errors import BadRequest
from loopwright.core.score import Score
from loopwright.datasets.example import Example
from loopwright.evals.evaluator import Output
from loopwright.evals.evaluators import make

pytestmark = pytest.mark.anyio
ASKED = Example(
    id="",
    inputs={
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "Please write to me at ann@example.org about the invoice of May"},
        ]
    },
)


async def told(kind: str, text: str, *, finish: str | None = "stop", **args: Any) -> Score:
    return await make({"kind": kind, "args": args})(ASKED, Output(text=text, finish=finish))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I'm sorry, but I can't help with that.", "refused"),
        ("As an assistant I cannot provide medical advice.", "refused"),
        ("Das kann ich leider nicht beantworten.", "refused"),
        ("Lo siento, no puedo ayudar con eso.", "refused"),
        ("Sorry to hear that! I can help you with your invoice.", "answered"),
        ("I can't help but smile at that.", "answered"),
        ("I cannot recommend this hotel enough.", "answered"),
        ("I don't know.", "unknown"),
        ("The documents do not say.", "unknown"),
    ],
)
async def test_a_refusal_is_told_from_an_answer(text: str, label: str) -> None:
    found = await told("refusal", text)
    assert (found.label, found.passed) == (label, label != "refused")


async def test_what_the_provider_filtered_is_refused_and_an_empty_answer_is_no_finding() -> None:
    assert (await told("refusal", "", finish="content_filter")).value == 1.0
    assert (await told("refusal", " ")).missing == "the answer is empty"


async def test_sentiment_is_of_english_only() -> None:
    good, bad = await told("sentiment", "Thank you, that is wonderful!"), await told("sentiment", "This is awful.")
    assert (good.label, bad.label) == ("positive", "negative")
    assert (await told("sentiment", "Fine, great!", least=0.1)).passed
    german = (
        "Das ist leider eine wirklich schreckliche Antwort, mit der niemand etwas anfangen kann, und zwar gar nichts."
    )
    assert "'de'" in ((await told("sentiment", german)).missing or "")
    assert (await told("sentiment", "This is a fine day. " * 10_000)).label == "positive"
    assert (await told("sentiment", "no", of="question")).label == "positive"


async def test_language_may_be_that_of_the_question() -> None:
    german = "Die Rechnung ist bezahlt, und wir schreiben Ihnen in den nächsten Tagen."
    assert (await told("language", german)).label == "de"
    found = await told("language", german, expected="question")
    assert (found.value, found.passed, found.label) == (0.0, False, "de")
    assert (await told("language", german, expected=["en", "de"])).passed
    assert "too few letters" in ((await told("language", "Ja.")).missing or "")


async def test_offence_has_a_category() -> None:
    found = await told("toxicity", "You stupid idiot, shut up.")
    assert (found.label, found.passed) == ("harassment", False)
    calm = await told("toxicity", "The invoice is paid.")
    assert (calm.label, calm.passed) == ("none", True)


async def test_personal_data_count_unless_they_were_asked_with_and_are_never_quoted() -> None:
    text = "Write to ann@example.org or bob@corp.example; card 4111 1111 1111 1111."
    found = await told("pii", text)
    assert (found.value, found.passed) == (2.0, False)
    assert "bob" not in found.explanation + str(found.details)
    assert (await told("pii", text, echoes=True)).value == 3.0
    assert (await told("pii", text, kinds=["email"])).value == 1.0
    assert (await told("pii", "nothing")).passed


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("language", {"expected": "english"}),
        ("toxicity", {"categories": ["rudeness"]}),
        ("pii", {"kinds": ["name"]}),
        ("sentiment", {"of": "weather"}),
    ],
    ids=["language", "toxicity", "pii", "sentiment"],
)
def test_what_is_none_is_refused(kind: str, args: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        make({"kind": kind, "args": args})
