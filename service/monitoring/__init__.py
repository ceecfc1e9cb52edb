"""What goes on by itself around monitoring lists.

Captures are read and matched, new works are looked for among them, lists run on schedule, webhooks are told.
All that is still to be done stands in the database: a server that was killed goes on where it was.
"""

from service.monitoring.near import SuspectIndexes
from service.monitoring.scheduler import Scheduler
from service.monitoring.suspects import Suspects
from service.monitoring.webhooks import HttpPost, Webhooks

__all__ = ["HttpPost", "Scheduler", "SuspectIndexes", "Suspects", "Webhooks"]
