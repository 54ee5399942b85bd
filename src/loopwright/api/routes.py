"""`GET /api/routes`: what stands behind each name, and how it is."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter

from loopwright.api.asking import Asker, House

router = APIRouter(prefix="/api")


@router.get("/routes", tags=["models"])
async def list_routes(app: House, who: Asker) -> dict[str, Any]:
    """Strategy, and health, breaker, answers in the making, queue and speed of each target.

    Each gateway process watches for itself; `process` says which one answers here.
    """
    routes = [each.shown() for each in app.routes if who.may_call(each.name)]
    return {"process": os.getpid(), "routes": sorted(routes, key=lambda each: str(each["name"]))}
