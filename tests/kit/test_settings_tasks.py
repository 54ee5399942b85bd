from pathlib import Path

import pytest

from loopwright.core.errors import SettingsError
from loopwright.kit.settings_file import load

HEAD = """
providers:
  p: {kind: scripted}
models:
  m: {provider: p, aliases: [small]}
tasks:
  t:
"""
GOOD = """
    model: small
    input: {type: object, properties: {text: {type: string}, n: {type: integer}}, required: [text]}
    output: {enum: [a, b]}
    metrics: [exact_match, {kind: contains, args: {texts: [x]}}]
    variants:
      base:
        messages:
          - role: system
            content: |
              Two lines,
              the second one.
          - {role: user, content: "{% if n %}{{ n }}{% endif %} {{ text }}"}
        examples: [{input: x, output: a}, {input: {text: y, n: 2}, output: b}]
      chained:
        strategy:
          kind: chain
          steps:
            - {name: draft, prompt: drafts@staging}
            - {name: final, messages: [{role: user, content: "{{ draft }} {{ text }}"}]}
"""


def read(tmp_path: Path, body: str) -> str:
    """What is wrong with a task; each problem on a line, without the name of the file."""
    path = tmp_path / "loopwright.yaml"
    path.write_text(HEAD + body)
    with pytest.raises(SettingsError) as caught:
        load(path, env={})
    return str(caught.value).replace(f"{path}:", "")


def test_a_good_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "loopwright.yaml"
    path.write_text(HEAD + GOOD)
    task = load(path, env={}).tasks["t"]
    assert task.variants["base"].weight == 1.0
    assert task.variants["chained"].strategy.steps[0].prompt == "drafts@staging"


ONE = "    model: m\n    variants:\n      v:\n"
SAY = "messages: [{role: user, content: '{{ input }}'}]"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    model: m\n", "7:3: tasks.t.variants: holds 0; allowed: 1 to 50"),
        (f"    model: n\n    variants: {{v: {{{SAY}}}}}\n", "8:12: tasks.t.model: found the text 'n', no model here"),
        (f"    variants: {{v: {{{SAY}}}}}\n", "tasks.t.variants.v: names no model"),
        (f"{ONE}        weight: 0\n        {SAY}\n", "tasks.t.variants: every weight is 0"),
        (f"{ONE}        prompt: p\n        {SAY}\n", "tasks.t.variants.v: has both of prompt and messages"),
        (f"{ONE}        weight: 1\n", "tasks.t.variants.v: has neither of prompt and messages"),
        (f"{ONE}        prompt: 'a b'\n", "11:17: tasks.t.variants.v.prompt: not the name of a prompt"),
        (f"{ONE}        memory: all\n        {SAY}\n", "tasks.t.variants.v.memory: "),
        (
            f"{ONE}        memory: {{embedder: n}}\n        {SAY}\n",
            "v.memory.embedder: found the text 'n', no model here",
        ),
        (
            f"{ONE}        memory: {{near: narrow}}\n        {SAY}\n",
            "v.memory.near: is narrow where the output is no enum",
        ),
        (f"{ONE}        memory: {{holdout: 2}}\n        {SAY}\n", "tasks.t.variants.v.memory.holdout: "),
        (
            f"{ONE}        memory: {{embedder: m}}\n        {SAY}\n      w: {{{SAY}, memory: {{}}}}\n",
            "v.memory.embedder: variants name m, minilm; allowed: one for all of a task",
        ),
        (
            f"{ONE}        memory: {{}}\n        strategy: {{kind: chain, steps: [{{name: s, {SAY}}}]}}\n",
            "tasks.t.variants.v.memory: stands beside a chain",
        ),
        (f"{ONE}        retrieval: {{}}\n        {SAY}\n", "tasks.t.variants.v.retrieval.collections: is empty"),
        (
            f"{ONE}        retrieval: {{collections: [a], query: inptu}}\n        {SAY}\n",
            "11:46: tasks.t.variants.v.retrieval.query: there is no input 'inptu'; did you mean 'input'?",
        ),
        (
            f"{ONE}        retrieval: {{collections: [a], query: '{{{{ x }}}}'}}\n        {SAY}\n",
            "retrieval.query: there is no input 'x'",
        ),
        (
            f"{ONE}        retrieval: {{collections: [a], threshold: high}}\n        {SAY}\n",
            "allowed: auto, or a number",
        ),
        (
            f"{ONE}        retrieval: {{collections: [a], step: s}}\n        {SAY}\n",
            "retrieval.step: stands beside kind",
        ),
        (f"{ONE}        retrieval: {{collections: [a], k: 9, candidates: 3}}\n        {SAY}\n", "are fewer than k, 9"),
        (f"{ONE}        retrieval: {{collections: [a/b]}}\n        {SAY}\n", "collections[0]: not the name of a coll"),
        (f"{ONE}        adapter: a\n        {SAY}\n", "tasks.t.variants.v.adapter: model 'm' has no adapters"),
        (
            f"{ONE}        messages:\n          - role: user\n            content: 'a {{{{ inptu }}}}'\n",
            "13:22: tasks.t.variants.v.messages[0].content: there is no input 'inptu'; did you mean 'input'?",
        ),
        (
            f"{ONE}        messages: [{{role: user, content: 'a {{% if %}}'}}]\n",
            "tasks.t.variants.v.messages[0].content: line 1 of the template:",
        ),
        (f"{ONE}        messages: [{{role: robot, content: a}}]\n", "messages[0].role: allowed: one of system"),
        (f"{ONE}        {SAY}\n        parameters: {{temperature: 5}}\n", "parameters.temperature: expected"),
        (f"{ONE}        {SAY}\n        parameters: {{response_format: x}}\n", "response_format: is not for a variant"),
        (f"{ONE}        {SAY}\n        examples: [{{input: a}}]\n", "examples[0]: allowed: a mapping with input and"),
        (f"{ONE}        {SAY}\n        examples: [{{input: {{x: 1}}, output: a}}]\n", "examples[0].input: $: "),
        (f"{ONE}        {SAY}\n        strategy: {{kind: best_of_n}}\n", "strategy: best_of_n needs an evaluator"),
        (
            f"{ONE}        {SAY}\n        strategy: {{kind: vote}}\n",
            "strategy.kind: found the text 'vote'; allowed: one of",
        ),
        (
            f"{ONE}        {SAY}\n        parameters: {{temperature: 0}}\n        strategy: {{kind: self_consistency}}\n",
            "parameters.temperature: is 0, so all samples",
        ),
        (f"{ONE}        strategy: {{kind: chain}}\n", "strategy.steps: holds 0; allowed: 1 to 20"),
        (
            f"{ONE}        strategy: {{kind: chain, steps: [{{name: input, prompt: p}}]}}\n",
            "steps[0].name: 'input' is an input or a step before",
        ),
        (
            f"    output: {{type: object, requierd: 3, properties: 7}}\n{ONE}        {SAY}\n",
            "8:53: tasks.t.output.properties: ",
        ),
        (f"    input: {{type: string}}\n{ONE}        {SAY}\n", "tasks.t.input.type: inputs are variables: 'string'"),
        (f"    guardrails: {{toxicity: {{}}}}\n{ONE}        {SAY}\n", "tasks.t.guardrails.toxicity: unknown setting"),
        (f"    metrics: [{{name: x}}]\n{ONE}        {SAY}\n", "tasks.t.metrics[0]: allowed: the kind of an evaluator"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(tmp_path: Path, body: str, said: str) -> None:
    assert said in read(tmp_path, body)


def test_a_name_is_one_that_can_be_called(tmp_path: Path) -> None:
    path = tmp_path / "loopwright.yaml"
    path.write_text(HEAD.replace("  t:", '  "a b":') + ONE + f"        {SAY}\n")
    with pytest.raises(SettingsError, match="not the name of a task"):
        load(path, env={})
