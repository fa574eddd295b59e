"""The subcommands of `tiermesh`: options in, tables or JSON out."""
