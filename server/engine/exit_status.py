"""What a rank's exit status tells the supervisor."""

FAILED = 1  # the group is started again, within a budget
REFUSED = 2  # a wrong setting, weights or memory that do not do, wrong answers: another start would end alike
NO_SHARED_MEMORY = 3  # the ranks cannot sum over shared memory: the group is started again over sockets
