from loopwright.client import Client as Client
from loopwright.tools import Tool as Tool
from loopwright.tools import tool as tool
from loopwright.tools import tools_from_openapi as tools_from_openapi

__all__ = ["Client", "Tool", "__version__", "tool", "tools_from_openapi"]
__version__: str
