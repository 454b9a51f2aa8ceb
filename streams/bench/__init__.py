"""`upwell bench`: what Upwell does on this machine, each figure beside its peer in the same run; one file per figure."""
