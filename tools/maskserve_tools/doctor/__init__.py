"""What `maskserve doctor` looks at: one small function for each check, which answers with findings.

`environment`, `capacity` and `ports` are about the machine, `configurations`, `files` and `labels` about a model
repository, `health` and `exposure` about a running server. `examination` is all of them in order.
"""
