"""What is sealed and with which keys, and sealing it anew. For administrators; no route tells a key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from loopwright.api.asking import Acting, Administrator, House
from loopwright.app import App
from loopwright.encryption import Encryption, shown

router = APIRouter(prefix="/api")


class Rotation(BaseModel):
    """Where to go on."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(default=None, max_length=200, description="As the step before told; null to begin.")


@router.get("/encryption", tags=["house"])
async def encryption_status(app: House, _who: Administrator) -> dict[str, Any]:
    """How many fields are sealed with which key, of those on record and on the machine that answers."""
    encryption = _encryption(app)
    return shown(encryption, await encryption.used())


@router.post("/encryption/rotate", tags=["house"])
async def rotate_encryption(app: House, by: Acting, asked: Rotation) -> dict[str, Any]:
    """Seal a little anew with the first key; call it until `after` is null. What breaks off goes on where it was."""
    encryption = _encryption(app)
    if asked.after is None and encryption.seal:
        await app.audit.note(by, "encryption.rotate", f"to key {encryption.seal.first}", {})
    step = await encryption.step(asked.after)
    return {"done": step.done, "after": step.after}


def _encryption(app: App) -> Encryption:
    return Encryption(app.db, app.settings, app.calls.seal)
