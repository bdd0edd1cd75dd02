"""
title: Troupe events
author: Troupe
version: 0.1.0
license: MIT
description: Tells the Troupe sidecar of ratings, deleted chats and deleted people. Sends ids only, never a name or a word of a chat.
required_open_webui_version: 0.12.0
"""

import asyncio
import logging

import httpx
from pydantic import BaseModel, Field

log = logging.getLogger(__name__)

# What the sidecar acts on. Open WebUI offers some 190 events to every function; all others end here.
EXACT = {"chat.deleted", "user.deleted"}
PREFIX = "feedback."

# A sidecar that restarts is back within seconds. Later than that an event is lost, which the log then says.
RETRY_SECONDS = (0.5, 2.0, 8.0)


class Event:
    class Valves(BaseModel):
        sidecar_url: str = Field(
            default="http://127.0.0.1:8787",
            description="Address of the Troupe sidecar as Open WebUI reaches it; empty: tell nobody",
        )
        key: str = Field(
            default="",
            description='API key of the sidecar with the scope "events"',
            json_schema_extra={"input": {"type": "password"}},
        )
        timeout_seconds: float = Field(
            default=5.0, ge=0.1, le=60, description="How long one try may take, in seconds"
        )

    def __init__(self):
        self.valves = self.Valves()

    async def event(self, event: dict) -> None:
        """Open WebUI calls this for each event, beside the request that caused it; nothing may be raised into it."""
        try:
            name = str(event.get("event") or "")
            if name not in EXACT and not name.startswith(PREFIX):
                return
            # The valves are shared by all requests and may be replaced while we wait.
            valves = self.valves
            subject_id = (event.get("subject") or {}).get("id")
            if not subject_id or not valves.sidecar_url:
                return
            await self._tell(valves, {"name": name, "id": str(subject_id)})
        except Exception as error:
            log.error("Troupe was not told of an event: %s", type(error).__name__)

    async def _tell(self, valves: "Event.Valves", body: dict) -> None:
        fault = ""
        async with httpx.AsyncClient(timeout=valves.timeout_seconds) as client:
            for pause in (*RETRY_SECONDS, None):
                try:
                    answer = await client.post(
                        f"{valves.sidecar_url.rstrip('/')}/troupe/api/openwebui/events",
                        json=body,
                        headers={"Authorization": f"Bearer {valves.key}"},
                    )
                    if answer.status_code < 300:
                        return
                    fault = f"status {answer.status_code}"
                    if answer.status_code < 500 and answer.status_code != 429:
                        break  # asking again would not change the answer
                except httpx.HTTPError as error:
                    fault = type(error).__name__
                if pause is not None:
                    await asyncio.sleep(pause)
        log.warning(
            "Troupe was not told of %s (%s); check the valves sidecar_url and key of this function",
            body["name"],
            fault,
        )
