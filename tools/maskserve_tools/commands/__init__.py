"""The subcommands of `maskserve`: each module adds a parser and runs what was parsed."""
