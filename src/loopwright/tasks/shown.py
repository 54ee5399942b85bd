"""A task as programs and pages see it: JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from loopwright.kit.settings_adapters import Wanted
from loopwright.tasks.task import PREFIX, Task, Variant


def brief(task: Task) -> dict[str, Any]:
    """Without its definition."""
    return {
        "name": task.name,
        "model": PREFIX + task.name,
        "description": task.description,
        "source": task.source,
        "project_id": task.project_id,
        "number": task.number,
        "author": task.author,
        "changed_at": task.changed_at,
        "inputs": [*_properties(task)],
        "text_input": task.text_input,
        "variants": [
            {
                "name": each.name,
                "weight": each.weight,
                "share": round(task.share(each), 6),
                "strategy": each.strategy.kind,
                "models": [*each.models],
                "adapters": [_adapter(adapter) for adapter in each.adapters],
                "prompts": [*each.prompts],
            }
            for each in task.variants.values()
        ],
    }


def whole(task: Task) -> dict[str, Any]:
    """With its definition, and each variant in full."""
    return {
        **brief(task),
        "input_schema": dict(task.input_schema),
        "output_schema": None if task.output_schema is None else dict(task.output_schema),
        "metrics": [dict(metric) for metric in task.metrics],
        "monitor": None if task.monitor is None else asdict(task.monitor),
        "bar": task.bar,
        "guardrails": dict(task.guardrails),
        "variants": [_variant(task, each) for each in task.variants.values()],
        "definition": task.definition,
    }


def _variant(task: Task, variant: Variant) -> dict[str, Any]:
    strategy = variant.strategy
    return {
        "name": variant.name,
        "model": f"{PREFIX}{task.name}@{variant.name}",
        "weight": variant.weight,
        "share": round(task.share(variant), 6),
        "strategy": strategy.kind,
        "samples": strategy.samples,
        "evaluator": strategy.evaluator,
        "models": [*variant.models],
        "adapters": [_adapter(each) for each in variant.adapters],
        "prompts": [*variant.prompts],
        "parameters": dict(variant.parameters),
        "examples": [{"input": dict(shot.input), "output": shot.output} for shot in variant.examples],
        "steps": [
            {
                "name": step.name,
                "prompt": step.prompt,
                "messages": [dict(message) for message in step.messages],
                "model": step.model,
                "adapter": None if step.adapter is None else _adapter(step.adapter),
                "parameters": dict(step.parameters),
            }
            for step in variant.steps
        ],
    }


def _adapter(wanted: Wanted) -> dict[str, Any]:
    return {"name": wanted.name, "scale": wanted.scale}


def _properties(task: Task) -> dict[str, Any]:
    found = task.inputs.document.get("properties")
    return found if isinstance(found, dict) else {}
