"""Whether a run learns: a network to which all images look alike is noticed while there is time to start again."""

from __future__ import annotations

import math

from curator.errors import Another, Change, CuratorError

__all__ = ["CALMER", "COLLAPSED", "LearningWatch", "NothingLearned"]

# Below this spread of normalised embeddings (1 is uniform) they have collapsed, whatever the loss.
COLLAPSED = 0.05
# Below this spread they have, if the loss is above this share of chance as well: collapsed runs were seen to stay at a
# spread of 0.08 to 0.2. Runs that learn pass both within their first 30 steps.
NARROW, NEAR_CHANCE = 0.25, 0.97
# So many steps in a row without learning end a run: a quarter of its steps, within these bounds.
LEAST_PATIENCE, MOST_PATIENCE = 50, 1000
# A run that learned nothing starts once again, at this share of its learning rate.
CALMER = 0.1


class NothingLearned(CuratorError):
    """All images look alike to the network, or the loss is not finite: to go on would be of no use."""


class LearningWatch:
    """Counts the steps in a row in which nothing was learned.

    In such a step embeddings are narrowly spread while the loss is that of chance; with a method that knows no chance,
    they have collapsed. Neither sign is enough: embeddings are narrow before they are told apart, and of images that
    hardly differ the loss stays near chance for long.

    Args:
        chance: the loss of a network that cannot tell images apart; None where that says nothing.
        steps: the steps of the whole run.
        idle: such steps in a row before, of a run that goes on.

    Attributes:
        idle: such steps in a row until now.
    """

    def __init__(self, chance: float | None, steps: int, idle: int = 0) -> None:
        self.idle = idle
        self._chance = chance
        self._patience = max(LEAST_PATIENCE, min(MOST_PATIENCE, steps // 4))

    def check(self, step: int, loss: float, spread: float) -> None:
        """Take in what the next step gave.

        Raises:
            NothingLearned: the loss is not finite, or nothing was learned for too long.
        """
        advice = (Change("lr", "lower"), Change("batch_size", "larger"), Another("arch"))
        if not math.isfinite(loss):
            raise NothingLearned(f"the loss is not finite at step {step:,}", advice=advice)
        self.idle = self.idle + 1 if self._is_idle(loss, spread) else 0
        if self.idle >= self._patience:
            chance = "" if self._chance is None else f", chance is {self._chance:.2f}"
            raise NothingLearned(
                f"nothing was learned in the last {self.idle:,} steps until step {step:,}: all images look alike to "
                f"the network (loss {loss:.2f}{chance}; spread {spread:.3f}, 1 is uniform)",
                advice=advice,
            )

    def _is_idle(self, loss: float, spread: float) -> bool:
        if self._chance is None:
            return spread < COLLAPSED
        return spread < NARROW and loss > NEAR_CHANCE * self._chance
