"""How fast an expert answers at the load of now, learned from its last answers (ours).

Seconds to the first token and seconds for each token after it are taken to rise in a line with the
requests under way: the engines batch, so a token costs all of them a little more. Each line is a
least-squares fit in which an answer counts less the older it is.

The load is what one ingress replica has under way. Other replicas' requests are not in it, but in
what they do to the times: with n replicas alike the slope comes out n times as steep, so no state
is shared.
"""

from __future__ import annotations

_MEMORY = 0.97
"""Weight that an observation keeps at the next one: the last 33 count."""

_PRIOR = 1.0
"""Pulls the slope to 0 where the load was always the same."""


class Trend:
    """y = a + b * load, a and b at least 0."""

    def __init__(self) -> None:
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def observe(self, load: float, y: float) -> None:
        """One more observation."""
        self._n, self._x, self._y, self._xx, self._xy = (
            _MEMORY * old + new
            for old, new in zip(
                (self._n, self._x, self._y, self._xx, self._xy),
                (1.0, load, y, load * load, load * y),
                strict=True,
            )
        )

    def at(self, load: float) -> float:
        """The line at this load; 0 before anything was observed."""
        if self._n == 0:
            return 0.0
        mean_x, mean_y = self._x / self._n, self._y / self._n
        spread = self._xx - self._n * mean_x * mean_x
        slope = max(0.0, (self._xy - self._n * mean_x * mean_y) / (spread + _PRIOR))
        return max(0.0, mean_y + slope * (load - mean_x))


class Speed:
    """One expert's."""

    def __init__(self) -> None:
        self._first, self._token = Trend(), Trend()

    def observe(self, load: int, first_s: float, total_s: float, output_tokens: int) -> None:
        """One answer.

        Args:
            load: other requests that were under way when it began.
            first_s: seconds to its first token; the whole time where it was not streamed.
            total_s: seconds to its last one.
            output_tokens: its length.
        """
        if total_s > first_s and output_tokens > 1:
            self._first.observe(load, first_s)
            self._token.observe(load, (total_s - first_s) / (output_tokens - 1))
        else:  # not streamed: the first token is not seen
            self._token.observe(load, total_s / max(1, output_tokens))

    def first_s(self, load: int) -> float:
        """Seconds to the first token."""
        return self._first.at(load)

    def token_s(self, load: int) -> float:
        """Seconds for each token after it."""
        return self._token.at(load)
