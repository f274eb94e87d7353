"""The world "groceries": an underspecified order, played and judged by rules."""

from foresight_services.worlds.groceries.world import Groceries

__all__ = ["Groceries"]
