"""The scripts are for processes of their own, with packages that this one does not have."""

collect_ignore = ["scripts"]
