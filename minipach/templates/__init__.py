"""New pipelines: from templates, and from a script, a Pachyderm spec, a Dockerfile, a Makefile or a DVC stage."""
