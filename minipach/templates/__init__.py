"""New pipelines from what people have: a script, a Pachyderm spec, a Dockerfile, a Makefile, a DVC stage."""
