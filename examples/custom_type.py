"""Types of your own: dataclasses by annotation, any other class by two methods.

In one terminal ``python custom_type.py worker``, in another ``python custom_type.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from pyxqueue import JSONSerializer, TaskQueue


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str


class WithFractions(JSONSerializer):
    """JSON that also carries fractions: in Redis, ``{"!fraction": [1, 3]}``."""

    def encode_custom(self, value: Any) -> Any:
        return ("fraction", [value.numerator, value.denominator]) if type(value) is Fraction else NotImplemented

    def decode_custom(self, tag: str, data: Any) -> Any:
        match tag, data:
            case "fraction", [int(numerator), int(denominator)]:
                return Fraction(numerator, denominator)
        return NotImplemented


queue = TaskQueue("custom-type", serializer=WithFractions())


@queue.task
def share(total: Money, part: Fraction) -> Money:
    """`Money` stands in the annotations, so it may travel."""
    return Money(total.amount * part.numerator / part.denominator, total.currency)


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run()
        case ["test"]:
            print(share(Money(Decimal("99.90"), "EUR"), Fraction(1, 3)).get(timeout=60))
        case _:
            sys.exit("Usage: python custom_type.py (worker | test)")
