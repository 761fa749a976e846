"""One module per command: SUMMARY, add_arguments(parser) and run(arguments). Heavy imports wait for run."""
