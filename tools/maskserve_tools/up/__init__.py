"""`maskserve up`: a model, its server and the REST service with one command."""
