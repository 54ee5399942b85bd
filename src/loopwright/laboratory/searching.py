"""A search as people and programs ask for it: in whose project, under which policies, and which words were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loopwright.app import App
from loopwright.core.passage import Found, Passage, Query
from loopwright.core.privacy import Privacy
from loopwright.core.who import Principal
from loopwright.retrieval.marks import Span, marks_of
from loopwright.retrieval.terms import LANGUAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A search that was made."""

    query: Query
    found: Found
    languages: Mapping[str, str]
    """Of each collection."""

    def marks(self, passage: Passage) -> list[Span]:
        """Where, in characters of its text, words stand that were searched for."""
        return marks_of(passage.text, self.found.queries, self.languages[passage.collection])

    def shown(self, passage: Passage) -> dict[str, Any]:
        """A passage as JSON."""
        return passage.shown() | {"marks": self.marks(passage)}


async def searched(
    app: App,
    who: Principal,
    project_id: int,
    names: Sequence[str],
    *,
    text: str,
    k: int,
    options: Mapping[str, Any],
    labels: frozenset[str] | None = None,
) -> Looked:
    """Search collections of a project as `who`; an option that is None is not said.

    Raises:
        See `retrieval.search.Searcher`.
    """
    opened = [await app.workshop.collections.get(project_id, each) for each in names]
    privacy: Privacy | None = None
    for model in dict.fromkeys(each.embedder for each in opened):
        policy = await app.policy_of(project_id, model)
        if policy is not None:
            privacy = policy if privacy is None else privacy.joined(policy)
    query = Query(
        text=text,
        collections=names,
        who=replace(who, project_id=project_id),
        k=k,
        options={option: value for option, value in options.items() if value is not None},
        labels=labels,
        privacy=privacy,
    )
    languages = {each.name: str(each.search.get("language", LANGUAGE)) for each in opened}
    return Looked(query=query, found=await app.search(query), languages=languages)
