"""The keys of what a trial reports to its sweep, beside the epoch's metrics."""

TRIAL = "trial"  # in a trial's configuration: its name, which stays its own over retries and restarts
EPOCH = "epoch"
IS_BEST = "is_best"
CHECKPOINT = "best_checkpoint"  # name of the best checkpoint so far in the trial's folder
STATE = "training_state"  # name of the state that training goes on from
BEGINS_AFTER = "begins_after"  # in a first result: the epochs that a trial goes on from
REPLAYED = "replayed"  # an epoch that was trained before the trial went on here
LAST = "last_replayed"  # the last of those: whether the trial may go on from it was perhaps never decided
FAILURE = "failure"  # in a last result: why the trial failed, or could not go on
DISK_FULL = "disk_full"  # the sweep has to stop: the storage takes nothing more
NOTE = "note"  # what the person should know
SAVING_S = "checkpoint_s"  # seconds that state and checkpoint took
